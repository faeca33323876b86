"""Pictures that were made, on disk and keyed by what made them: a grid that was interrupted goes on where it was.

Each is a PNG of its own, whole or not there; what it was made from stands in it as text.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image, PngImagePlugin

from ..images.panels import from_pillow, to_pillow

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = "patchbay_cell"
LIMIT_BYTES = 4 << 30
"""Pictures beyond this total are deleted, those that were not used longest first."""
_KEY = re.compile(r"[0-9a-f]{16,64}")


class StoredCell(NamedTuple):
    """A picture that was made before."""

    picture: Tensor
    """[height, width, 3] in 0..1, rounded to 8 bits."""
    facts: dict[str, Any]
    """What was stored with it."""


class GridStore:
    """A folder of pictures by key."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit = limit_bytes

    def path(self, key: str) -> Path:
        """Where the picture of this key lies or will lie."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key")
        return self._folder / f"{key}.png"

    def get(self, key: str) -> StoredCell | None:
        """The picture of this key; a damaged file counts as none and is deleted."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            found = read_cell(path)
            os.utime(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            path.unlink(missing_ok=True)
            return None
        return found

    def put(self, key: str, picture: Tensor, facts: Mapping[str, Any]) -> Tensor:
        """Keep a picture [height, width, 1 or 3 channels]; returns it as ``get`` will give it.

        Raises:
            OSError: it cannot be written; nothing is left behind.
        """
        image = to_pillow(picture).convert("RGB")
        write_png(self.path(key), image, {CHUNK: json.dumps(dict(facts), ensure_ascii=True)}, compress_level=1)
        self._shrink(key)
        return from_pillow(image)

    def _shrink(self, newest: str) -> None:
        files = []
        for path in self._folder.glob("*.png"):
            try:
                status = path.stat()
            except OSError:  # another ComfyUI deleted it
                continue
            if _KEY.fullmatch(path.stem):
                files.append((status.st_mtime, status.st_size, path))
        total = 0
        for _, size, path in sorted(files, reverse=True):
            total += size
            if total > self._limit and path.stem != newest:
                path.unlink(missing_ok=True)


def read_cell(path: Path) -> StoredCell:
    """A picture with its facts.

    Raises:
        OSError, ValueError, SyntaxError: the file is damaged.
    """
    with Image.open(path, formats=("PNG",)) as image:
        image.load()
        facts = json.loads(image.info.get(CHUNK, "{}"))
        if not isinstance(facts, dict):
            raise ValueError(f"{path.name}: its facts are no object.")
        return StoredCell(from_pillow(image), facts)


def write_png(path: Path, image: Image.Image, texts: Mapping[str, str], compress_level: int = 4) -> None:
    """Write a PNG with text chunks, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            image.save(file, format="PNG", pnginfo=chunks, compress_level=compress_level)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def workflow_texts(prompt: object, extra: Mapping[str, object] | None) -> dict[str, str]:
    """Text chunks as ComfyUI's Save Image writes them, so that the picture opens as its workflow: ``prompt``,
    ``workflow``."""
    texts = {} if prompt is None else {"prompt": json.dumps(prompt)}
    return texts | {str(name): json.dumps(value) for name, value in (extra or {}).items()}
