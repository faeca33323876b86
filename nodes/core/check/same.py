"""Which files hold the same tensors, whatever their names and metadata."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

_PIECE = 1 << 16
_CHUNK = 4 << 20


def same_files(files: Iterable[str]) -> list[list[str]]:
    """Groups of files whose bytes after the header are equal, in the order of ``files``.

    Sizes are compared first, then three pieces of each, and only what is equal so far is read whole. Files that cannot
    be read, that hold no tensor or are no safetensors files are in no group.
    """
    groups = _split([list(files)], _extent)
    groups = _split(groups, _sample)
    return _split(groups, _whole)


def _split(groups: Sequence[list[str]], key: Callable[[str], Hashable]) -> list[list[str]]:
    found: list[list[str]] = []
    for group in groups:
        parts: defaultdict[Hashable, list[str]] = defaultdict(list)
        for file in group:
            try:
                value = key(file)
            except OSError:
                continue
            if value is not None:
                parts[value].append(file)
        found.extend(part for part in parts.values() if len(part) > 1)
    return found


def _data(file: str) -> tuple[int, int]:
    """Where the tensors begin and how many bytes they take."""
    size = os.path.getsize(file)
    with open(file, "rb", buffering=0) as opened:
        start = 8 + int.from_bytes(opened.read(8), "little")
    return start, size - start


def _extent(file: str) -> int | None:
    size = _data(file)[1]
    return size if size > 0 else None


def _sample(file: str) -> bytes:
    start, size = _data(file)
    digest = hashlib.blake2b()
    with open(file, "rb", buffering=0) as opened:
        for place in (0, size // 2, max(0, size - _PIECE)):
            opened.seek(start + place)
            digest.update(opened.read(_PIECE))
    return digest.digest()


def _whole(file: str) -> bytes:
    digest = hashlib.sha256()
    with open(file, "rb", buffering=0) as opened:
        opened.seek(_data(file)[0])
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
