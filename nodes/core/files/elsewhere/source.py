"""A file that is not on this machine, as the readers of headers see it: a name, a size and pieces of it on request.

Abstract and without any import: what knows addresses and protocols is ``address``, which only the command line imports.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence

_STEP = 1 << 16
"""Bytes that are asked for at least: a request costs more than they do."""
_GAP = 1 << 16
"""Pieces with less than this between them are asked for together."""

Span = tuple[int, int]
"""First byte and the one after the last."""


class Source(ABC):
    """A file elsewhere. Only what is asked for travels."""

    name: str
    """Its file name, for messages and reports."""

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """Size of the whole file."""

    @property
    @abstractmethod
    def head(self) -> bytes:
        """The beginning of the file, as much of it as came with the first request."""

    @abstractmethod
    def read(self, start: int, count: int) -> bytes:
        """``count`` bytes from ``start`` on, fewer only at the end of the file."""

    @abstractmethod
    def read_spans(self, spans: Sequence[Span]) -> list[bytes]:
        """Several pieces, several at a time."""

    @abstractmethod
    def beside(self, name: str, most: int) -> bytes | None:
        """A small file of this name in the same folder; ``None`` where there is none or it is longer than ``most``."""

    def pieces(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of each of ``spans``, neighbours joined into one request."""
        joined: list[Span] = []
        for start, end in sorted(spans):
            if joined and start - joined[-1][1] < _GAP:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((start, end))
        read = self.read_spans(joined)
        starts = [start for start, _ in joined]
        found: list[bytes] = []
        for start, end in spans:
            index = bisect_right(starts, start) - 1
            found.append(read[index][start - starts[index] : end - starts[index]])
        return found


class SourceFile(io.RawIOBase):
    """A source read from its beginning: what was read once is kept, what is skipped is never asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._block, self._from = source.head, 0
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._at if whence == 1 else self._source.size_bytes if whence == 2 else 0)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        end = self._source.size_bytes if size < 0 else min(self._at + size, self._source.size_bytes)
        if not self._from <= self._at <= self._from + len(self._block):
            self._block, self._from = b"", self._at
        missing = end - self._from - len(self._block)
        if missing > 0:
            self._block += self._source.read(self._from + len(self._block), max(missing, _STEP))
        found = self._block[self._at - self._from : max(end, self._at) - self._from]
        self._at += len(found)
        return found
