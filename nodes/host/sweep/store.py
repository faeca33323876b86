"""Latents that a sweep has made, on disk by content, so that a run that ended early goes on where it was."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import folder_paths
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

LIMIT_BYTES = 1 << 30
"""Latents beyond this total are deleted, those that were not used longest first."""
_TENSOR = "latent"


class LatentStore:
    """A folder of latents by key."""

    def __init__(self, folder: Callable[[], Path] | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder or _default_folder
        self._limit = limit_bytes

    def get(self, key: str | None) -> Tensor | None:
        """The latent of this key; a damaged file counts as none and is deleted."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            latent = load_file(path)[_TENSOR].clone()  # a mapped file could not be deleted on Windows
            os.utime(path)
        except (OSError, SafetensorError, KeyError):
            path.unlink(missing_ok=True)
            return None
        return latent

    def put(self, key: str | None, latent: Tensor) -> bool:
        """Keep a latent, whole or not at all; ``False`` where it has no key or the disk takes no more."""
        path = self._path(key)
        if path is None:
            return False
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({_TENSOR: latent.contiguous()}, temporary)
            os.replace(temporary, path)
        except (OSError, SafetensorError):
            temporary.unlink(missing_ok=True)
            return False
        return True

    def shrink(self) -> None:
        """Delete what lies beyond the limit."""
        folder = self._folder()
        dated: list[tuple[float, int, Path]] = []
        for path in folder.glob("*.safetensors"):
            try:
                status = path.stat()
            except OSError:
                continue  # another ComfyUI shrinks the same folder
            dated.append((status.st_mtime, status.st_size, path))
        total = 0
        for _, size, path in sorted(dated, reverse=True):
            total += size
            if total > self._limit:
                path.unlink(missing_ok=True)

    def _path(self, key: str | None) -> Path | None:
        return None if key is None else self._folder() / f"{key}.safetensors"


def _default_folder() -> Path:
    return Path(folder_paths.get_user_directory()) / "default" / "lora-patchbay" / "sweep"


LATENTS = LatentStore()
"""Shared by all runs."""
