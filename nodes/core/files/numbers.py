"""Numbers of a file's tensors without torch: any run of elements as float64, read with a seek (needs numpy)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

from .tensors import FP8, Header, TensorInfo, decode_fp8

Array = Any
"""A numpy array of float64."""

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "F8_E4M3": "u1", "F8_E5M2": "u1",
}  # fmt: skip


class UnreadableNumbers(Exception):
    """A tensor cannot be read here; the text says why."""


class NumberReader:
    """Runs of elements of one file's tensors, as they are stored."""

    def __init__(self, header: Header, file: BinaryIO) -> None:
        self._header = header
        self._file = file

    def info(self, key: str) -> TensorInfo:
        """What the header says of a tensor.

        Raises:
            UnreadableNumbers: it is stored in a way that only ComfyUI reads.
        """
        info = self._header.tensors[key]
        if self._header.loaded is None and self._header.container != "safetensors" and info.dtype not in ("F32", "F16"):
            raise UnreadableNumbers(f"{info.dtype} of {self._header.container} files is read in ComfyUI only")
        if info.dtype not in _DTYPES:
            raise UnreadableNumbers(f"the dtype {info.dtype} is read in ComfyUI only")
        return info

    def read(self, info: TensorInfo, start: int, count: int) -> Array:
        """``count`` elements of a tensor from element ``start`` on, [count].

        Raises:
            UnreadableNumbers: the file became shorter.
        """
        if self._header.loaded is not None:
            flat = self._header.loaded[info.key].detach().flatten()[start : start + count]
            return flat.double().numpy()
        kind = np.dtype(_DTYPES[info.dtype])
        self._file.seek(self._header.data_start + info.start + start * kind.itemsize)
        raw = self._file.read(count * kind.itemsize)
        if len(raw) != count * kind.itemsize:
            raise UnreadableNumbers("the file became shorter while it was read")
        found = np.frombuffer(raw, kind)
        if info.dtype == "BF16":
            return (found.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        if info.dtype.startswith("F8_"):
            return _fp8_table(info.dtype)[found]
        return found.astype(np.float64)


@lru_cache(2)
def _fp8_table(dtype: str) -> Array:
    return np.array([decode_fp8(code, *FP8[dtype]) for code in range(256)])
