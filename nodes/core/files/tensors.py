"""What is known of a file without its tensors: their names, dtypes, shapes and places, and the metadata.

Standard library only: this runs on machines without torch.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

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

    def scalars(self, keys: Iterable[str]) -> dict[str, float]:
        """The values of one-element tensors, read with a seek each; what is not a readable scalar is left out."""
        wanted = [self.tensors[key] for key in keys if key in self.tensors]
        wanted = [info for info in wanted if info.count == 1]
        if self.loaded is not None:
            return {info.key: float(self.loaded[info.key]) for info in wanted}
        if self.path is None or self.container != "safetensors" or not wanted:
            return {}
        values: dict[str, float] = {}
        with open(self.path, "rb", buffering=0) as file:
            for info in wanted:
                value = _decode_scalar(read_at(file, self.data_start + info.start, info.end - info.start), info.dtype)
                if value is not None:
                    values[info.key] = value
        return values


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
