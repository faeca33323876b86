"""A look at the bytes of a file's tensors: is one all zero, which parts of a row are? Without numpy or torch.

Reads are bounded: almost always the first bytes answer, and what is zero for long is looked at in places.
"""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO

from .tensors import Header, read_at

_FIRST = 64
_CHUNK = 1 << 20
_BUDGET = 64 << 20
"""Bytes of zeros that are read in all of a file; beyond them each tensor is looked at in places."""
_PLACES, _PLACE = 64, 4_096
_NO_VALUE = b"\x00\x80"
"""Bytes of zero and of minus zero, in every float of 8 to 64 bits."""


class Peek:
    """An open file whose tensors are looked at. Of GGUF files and of those that cannot be opened nothing is known."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._file: BinaryIO | None = None
        self._left = _BUDGET

    def __enter__(self) -> Peek:
        if self._header.loaded is None and self._header.path is not None and self._header.container == "safetensors":
            try:
                self._file = open(self._header.path, "rb", buffering=0)  # noqa: SIM115  closed in __exit__
            except OSError:
                self._file = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def is_zero(self, key: str) -> bool:
        """Whether a tensor is all zero; ``False`` where that cannot be read and for a tensor without elements."""
        info = self._header.tensors[key]
        if self._header.loaded is not None:
            return bool(info.count) and not bool(self._header.loaded[key].any())
        size = info.end - info.start
        if size <= 0 or self._file is None:
            return False
        first = read_at(self._file, self._header.data_start + info.start, _FIRST if size > _FIRST else size)
        if first.translate(None, _NO_VALUE):
            return False
        if size > self._left:
            step = max(1, (size - _PLACE) // _PLACES)
            return all(self._blank(info.start + place, _PLACE) for place in range(0, size - _PLACE, step))
        self._left -= size
        return all(self._blank(info.start + at, min(_CHUNK, size - at)) for at in range(0, size, _CHUNK))

    def row_parts(self, key: str, row: int, parts: int) -> tuple[bool, ...] | None:
        """Which of the equal parts of a row of a matrix hold anything; ``None`` where that cannot be read."""
        info = self._header.tensors[key]
        if self._header.loaded is not None:
            pieces = self._header.loaded[key][row].flatten().chunk(parts)
            return tuple(bool(piece.any()) for piece in pieces)
        if self._file is None or not info.shape:
            return None
        length = (info.end - info.start) // info.shape[0]
        raw, part = self._read(info.start + row * length, length), length // parts
        if len(raw) != length or not part:
            return None
        return tuple(bool(raw[i * part : (i + 1) * part].translate(None, _NO_VALUE)) for i in range(parts))

    def _blank(self, start: int, count: int) -> bool:
        raw = self._read(start, count)
        return len(raw) == count and not raw.translate(None, _NO_VALUE)

    def _read(self, start: int, count: int) -> bytes:
        assert self._file is not None
        return read_at(self._file, self._header.data_start + start, count)
