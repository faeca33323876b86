"""What is known of a file without its tensors: their names, dtypes, shapes and places, and the metadata.

Standard library only: this runs on machines without torch.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from .elsewhere.source import Source

_SCALAR_FORMATS = {
    "F16": "<e", "F32": "<f", "F64": "<d", "I8": "<b", "U8": "<B", "BOOL": "<?",
    "I16": "<h", "U16": "<H", "I32": "<i", "U32": "<I", "I64": "<q", "U64": "<Q",
}  # fmt: skip


class TensorInfo(NamedTuple):
    """One tensor of a file. A named tuple, because a scan makes a million of them."""

    key: str
    dtype: str
    """As the file spells it: ``BF16``, ``F8_E4M3``, ``Q4_0``."""
    shape: tuple[int, ...]
    start: int
    """First byte, counted from ``Header.data_start``."""
    end: int

    @property
    def count(self) -> int:
        """Number of elements."""
        total = 1
        for size in self.shape:
            total *= size
        return total


@dataclass(frozen=True)
class Header:
    """Everything that is known of a file without its tensors."""

    name: str
    """File name without its folder."""
    size_bytes: int
    container: str
    """``safetensors``, ``gguf`` or ``pickle``."""
    tensors: dict[str, TensorInfo]
    """In file order."""
    metadata: dict[str, str]
    path: Path | None = field(default=None, repr=False, compare=False)
    data_start: int = 0
    """Byte at which the tensors begin."""
    loaded: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """The tensors themselves, where the container cannot be read without loading them (pickle)."""
    source: Source | None = field(default=None, repr=False, compare=False)
    """The file, where it lies elsewhere; its ``path`` is ``None`` then, and what is not asked of it is not known."""

    def scalars(self, keys: Iterable[str]) -> dict[str, float]:
        """The values of one-element tensors, read with a seek each; what is not a readable scalar is left out."""
        wanted = [self.tensors[key] for key in keys if key in self.tensors]
        wanted = [info for info in wanted if info.count == 1]
        if self.loaded is not None:
            return {info.key: float(self.loaded[info.key]) for info in wanted}
        decoded = ((info, _decode_scalar(raw, info.dtype)) for info, raw in self.raw(wanted))
        return {info.key: value for info, value in decoded if value is not None}

    def raw(self, wanted: Sequence[TensorInfo], longest: int = 1 << 20) -> Iterator[tuple[TensorInfo, bytes]]:
        """The bytes of small tensors of a safetensors file, of each at most ``longest``; nothing of other files."""
        if self.container != "safetensors" or not wanted:
            return
        spans = [(self.data_start + i.start, self.data_start + min(i.end, i.start + longest)) for i in wanted]
        if self.source is not None:
            yield from zip(wanted, self.source.pieces(spans), strict=True)
        elif self.path is not None:
            with open(self.path, "rb", buffering=0) as file:
                for info, (start, end) in zip(wanted, spans, strict=True):
                    yield info, read_at(file, start, end - start)


_PREAD = getattr(os, "pread", None)
"""Not on Windows."""


def read_at(file: BinaryIO, start: int, count: int) -> bytes:
    """Bytes of an open, unbuffered file from ``start``; fewer where it ends."""
    if _PREAD is not None:  # half the calls of the system
        return _PREAD(file.fileno(), count, start)
    file.seek(start)
    return file.read(count)


def shown(name: str) -> str:
    """A name from a file, fit for one line of a message."""
    return "".join(char if char.isprintable() else "?" for char in name[:80])


FP8 = {"F8_E4M3": (3, 7), "F8_E5M2": (2, 15)}
"""Bits of the mantissa, and bias of the exponent."""


def decode_fp8(code: int, bits: int, bias: int) -> float:
    """The value of an 8-bit float."""
    exponent, part = (code & 0x7F) >> bits, (code & ((1 << bits) - 1)) / (1 << bits)
    if bits == 2 and exponent == 31 or bits == 3 and code & 0x7F == 0x7F:
        value = math.inf if bits == 2 and not part else math.nan
    else:
        value = (1 + part) * 2.0 ** (exponent - bias) if exponent else part * 2.0 ** (1 - bias)
    return -value if code & 0x80 else value


def _decode_scalar(raw: bytes, dtype: str) -> float | None:
    try:
        if dtype == "BF16":
            return float(struct.unpack("<f", b"\x00\x00" + raw)[0])
        if dtype in FP8:
            return decode_fp8(raw[0], *FP8[dtype])
        if dtype in _SCALAR_FORMATS:
            return float(struct.unpack(_SCALAR_FORMATS[dtype], raw)[0])
    except (struct.error, IndexError):  # the file shrank since its header was read
        return None
    return None
