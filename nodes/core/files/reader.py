"""One tensor at a time from a safetensors file, in the dtype in which it is stored."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from ..errors import HeaderError
from .tensors import Header

if TYPE_CHECKING:
    from torch import Tensor

_TORCH = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "BOOL": "bool",
}  # fmt: skip


class TensorReader:
    """A context manager. Tensors are read by seeking, so that no more than one of them is in memory."""

    def __init__(self, header: Header) -> None:
        """
        Raises:
            HeaderError: only safetensors files and PyTorch pickles are read.
        """
        placed = header.path is not None or header.source is not None
        if header.loaded is None and (header.container != "safetensors" or not placed):
            raise HeaderError(f"{header.name}: only safetensors files and PyTorch pickles are read tensor by tensor.")
        self.header = header
        self._file: BinaryIO | None = None

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self, key: str) -> Tensor:
        """The tensor behind a key of the file.

        Raises:
            HeaderError: its dtype is one that PyTorch does not have, or the file became shorter.
        """
        import torch

        if self.header.loaded is not None:
            return self.header.loaded[key]
        info = self.header.tensors[key]
        if info.dtype not in _TORCH:
            raise HeaderError(f"{self.header.name}: {key} is stored as {info.dtype}, which is read in ComfyUI only.")
        dtype = getattr(torch, _TORCH[info.dtype])
        raw = bytearray(self.raw(key))
        if not raw:
            return torch.empty(info.shape, dtype=dtype)
        return torch.frombuffer(raw, dtype=dtype).reshape(info.shape)

    def raw(self, key: str) -> bytes:
        """The bytes of a tensor as they are stored.

        Raises:
            HeaderError: the file became shorter while it was read.
            RemoteError: the file lies elsewhere and cannot be read any more.
        """
        info = self.header.tensors[key]
        if self.header.source is not None:
            return self.header.source.read(self.header.data_start + info.start, info.end - info.start)
        if self._file is None:
            self._file = open(Path(self.header.path or ""), "rb")  # noqa: SIM115 - closed in __exit__
        self._file.seek(self.header.data_start + info.start)
        found = self._file.read(info.end - info.start)
        if len(found) != info.end - info.start:
            raise HeaderError(f"{self.header.name}: became shorter while it was read.")
        return found
