"""Headers of GGUF files: tensor names, quantisation types, shapes and metadata.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from ..errors import HeaderError
from .tensors import Header, TensorInfo, shown

# name: (elements in a block, bytes of a block), by ggml type number
GGML_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
"""Name, elements of a block and bytes of a block for each ggml type number."""

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_ITEMS = 1_000_000
_MAX_NAME = 65_535
_MAX_DIMS = 8
_SHOWN_ITEMS = 16


class _Reader:
    """Reads values in order; everything that would leave the file is a :class:`HeaderError`."""

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self._file = file
        self._name = name
        self._left = size

    @property
    def position(self) -> int:
        return self._file.tell()

    def bytes(self, count: int) -> bytes:
        if count > self._left:
            raise self.error("the header runs past the end of the file; the download is incomplete")
        self._left -= count
        raw = self._file.read(count)
        if len(raw) != count:
            raise self.error("the file ends inside its header; the download is incomplete")
        return raw

    def skip(self, count: int) -> None:
        if count > self._left:
            raise self.error("the header runs past the end of the file; the download is incomplete")
        self._left -= count
        self._file.seek(count, 1)

    def number(self, kind: str) -> int | float | bool:
        return struct.unpack(kind, self.bytes(struct.calcsize(kind)))[0]

    def count(self, kind: str, limit: int, what: str) -> int:
        value = int(self.number(kind))
        if value > limit:
            raise self.error(f"claims {value} {what}, more than {limit}; the file is damaged")
        return value

    def text(self, limit: int) -> str:
        """A string; of a longer one the beginning."""
        length = int(self.number("<Q"))
        raw = self.bytes(min(length, limit))
        self.skip(length - len(raw))
        return raw.decode("utf-8", "replace")

    def error(self, what: str) -> HeaderError:
        return HeaderError(f"{self._name}: GGUF file: {what}.")


def read_gguf(file: BinaryIO, name: str, size_bytes: int, path: Path | None = None) -> Header:
    """The header of a GGUF file, open at its beginning. Shapes are in torch order (GGUF stores them reversed).

    Raises:
        HeaderError: the file is cut off, of an unknown version, or contradicts itself.
    """
    reader = _Reader(file, name, size_bytes)
    reader.bytes(4)
    version = int(reader.number("<I"))
    if version not in (2, 3):
        raise reader.error(f"version {version} is not known (2 and 3 are)")
    tensor_count = reader.count("<Q", _MAX_ITEMS, "tensors")
    field_count = reader.count("<Q", _MAX_ITEMS, "metadata fields")
    metadata: dict[str, str] = {}
    for _ in range(field_count):
        key = reader.text(_MAX_NAME)
        metadata[key] = _value(reader, int(reader.number("<I")))
    infos = [_tensor(reader, metadata) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", "32")
    step = int(alignment) if alignment.isdecimal() and 0 < int(alignment) <= 65_536 else 32
    data_start = -(-reader.position // step) * step
    infos.sort(key=lambda info: info.start)
    tensors = {info.key: info for info in infos}
    end = max((info.end for info in infos), default=0)
    if tensors and data_start + end > size_bytes:
        raise HeaderError(
            f"{name}: the header describes {data_start + end} bytes, the file has {size_bytes}; "
            "the download is incomplete."
        )
    return Header(name, size_bytes, "gguf", tensors, metadata, path, data_start)


def _value(reader: _Reader, kind: int, nested: int = 0) -> str:
    """A metadata value as text; long arrays (vocabularies) are skipped after their first items."""
    if kind in _SCALARS:
        value = reader.number(_SCALARS[kind])
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind == _STRING:
        return reader.text(1_000_000)
    if kind != _ARRAY or nested > 2:
        raise reader.error(f"metadata of the unknown type {kind}")
    item_kind = int(reader.number("<I"))
    count = int(reader.number("<Q"))
    shown = [_value(reader, item_kind, nested + 1) for _ in range(min(count, _SHOWN_ITEMS))]
    rest = count - len(shown)
    if rest and item_kind in _SCALARS:
        reader.skip(rest * struct.calcsize(_SCALARS[item_kind]))
    elif rest:
        for _ in range(min(rest, 10 * _MAX_ITEMS)):
            if item_kind == _STRING:
                reader.skip(int(reader.number("<Q")))
            else:
                _value(reader, item_kind, nested + 1)
    return f"[{', '.join(shown)}{f', ... {count} in all' if rest else ''}]"


def _tensor(reader: _Reader, metadata: dict[str, str]) -> TensorInfo:
    key = reader.text(_MAX_NAME)
    dims = [int(reader.number("<Q")) for _ in range(reader.count("<I", _MAX_DIMS, "dimensions"))]
    number = int(reader.number("<I"))
    start = int(reader.number("<Q"))
    name, block, block_bytes = GGML_TYPES.get(number, (f"GGML_{number}", 0, 0))
    elements = 1
    for dim in dims:
        elements *= dim
        if elements >= 2**63:
            raise reader.error(f'the shape of tensor "{shown(key)}" overflows')
    if block and elements % block:
        raise reader.error(f'tensor "{shown(key)}" does not fill whole blocks of {name}')
    length = elements // block * block_bytes if block else 0
    return TensorInfo(key, name, _torch_shape(key, dims, metadata), start, start + length)


def _torch_shape(key: str, dims: list[int], metadata: dict[str, str]) -> tuple[int, ...]:
    """ComfyUI's converter keeps the true shape of what it had to reshape."""
    original = metadata.get(f"comfy.gguf.orig_shape.{key}", "")
    try:
        shape = tuple(int(word) for word in original.strip("[]").split(",")) if original else ()
    except ValueError:
        shape = ()
    return shape or tuple(reversed(dims))
