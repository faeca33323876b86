"""What a list of LoRAs shows of each file, from its header and from what lies beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..files.header import read_header
from ..files.metadata import read_training
from ..lora.file import read_lora
from ..lora.file_kinds import made_for
from ..match.readings import as_loaded

MOST_WORDS = 12
MOST_PREVIEW_BYTES = 8 << 20
PREVIEW_ENDINGS = (
    ".preview.png", ".png", ".preview.jpg", ".jpg", ".preview.jpeg", ".jpeg", ".preview.webp", ".webp",
)  # fmt: skip
_DATA = "data:image/"


@dataclass(frozen=True)
class LoraFacts:
    """One line of a list."""

    trigger_words: tuple[str, ...]
    ranks: tuple[int, ...]
    architecture: str
    """What the file is made for; empty where its header does not tell."""
    title: str
    size_bytes: int
    thumbnail: bool
    """Whether the header carries a picture."""


@dataclass(frozen=True)
class Preview:
    """A picture of a LoRA."""

    kind: str
    """``image/png`` and the like, from the picture's first bytes."""
    data: bytes


def lora_facts(path: str | os.PathLike[str]) -> LoraFacts:
    """Read a LoRA's header. Some milliseconds; no tensor is read.

    Raises:
        HeaderError: the file cannot be read as one with a header.
        OSError: the file cannot be opened.
    """
    file = read_lora(as_loaded(read_header(path)))
    training = read_training(file.header.metadata)
    _, match = made_for(file)
    return LoraFacts(
        tuple(word[:80] for word in training.trigger_words[:MOST_WORDS]),
        file.ranks,
        match.name if match.id else "",
        training.title[:120],
        file.header.size_bytes,
        _thumbnail(file.header.metadata).startswith(_DATA),
    )


def preview_path(path: str | os.PathLike[str]) -> str | None:
    """The picture beside a LoRA: of its name, as the programs that download LoRAs put it there."""
    stem = os.path.splitext(os.fspath(path))[0]
    return next((stem + ending for ending in PREVIEW_ENDINGS if os.path.isfile(stem + ending)), None)


def read_preview(path: str | os.PathLike[str]) -> Preview | None:
    """The picture beside a LoRA, else the one in its header; ``None`` where there is none that is a picture.

    Nothing above ``MOST_PREVIEW_BYTES`` is read, and nothing but PNG, JPEG and WebP is handed out.
    """
    beside = preview_path(path)
    if beside is not None and os.path.getsize(beside) <= MOST_PREVIEW_BYTES:
        with open(beside, "rb") as stream:
            return _as_preview(stream.read(MOST_PREVIEW_BYTES))
    text = _thumbnail(read_header(path).metadata)
    if not text.startswith(_DATA) or len(text) > MOST_PREVIEW_BYTES:
        return None
    try:
        return _as_preview(base64.b64decode(text.partition(",")[2], validate=True))
    except ValueError:
        return None


def _thumbnail(metadata: Mapping[str, str]) -> str:
    return str(metadata.get("modelspec.thumbnail", ""))


def _as_preview(data: bytes) -> Preview | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return Preview("image/png", data)
    if data.startswith(b"\xff\xd8\xff"):
        return Preview("image/jpeg", data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Preview("image/webp", data)
    return None
