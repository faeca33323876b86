"""Write a safetensors file tensor by tensor: one tensor in memory at a time, whole or not at all.

The safetensors library wants all tensors at once. Here the place of the header is reserved, the tensors follow as they
come, and the header is written last; what is left of its place is filled with spaces, which the format allows.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import PatchbayError
from .header import MAX_HEADER_BYTES

if TYPE_CHECKING:
    from torch import Tensor

_BYTES_A_TENSOR = 200
"""Room in the header for one tensor, its name not counted: dtype, up to eight sides, two offsets."""

_SMALL_SHARE = 200
"""A gap of at most this fraction of the tensors stays: moving gigabytes to win kilobytes is not worth it."""

_MOVED = 1 << 24
"""Bytes that are moved at a time."""

_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8",
    "bool": "BOOL",
}  # fmt: skip


class TensorWriter:
    """A context manager: ``add`` the tensors, then ``finish`` with the metadata. Without ``finish`` nothing stays."""

    def __init__(self, path: str | os.PathLike[str], keys: Iterable[str], metadata_bytes: int) -> None:
        """Open a temporary file beside ``path``.

        Args:
            keys: Every key that may be added; fewer may come.
            metadata_bytes: Most that the metadata can take as JSON.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{self.path.stem}.{uuid.uuid4().hex}.tmp")
        room = sum(len(json.dumps(key)) + _BYTES_A_TENSOR for key in keys) + metadata_bytes + 64
        self._room = -(-room // 8) * 8
        self._entries: dict[str, dict[str, object]] = {}
        self._position = 0
        self._hash = hashlib.sha256()
        self._file = open(self._temporary, "x+b")  # noqa: SIM115 - closed in __exit__
        self._file.seek(8 + self._room)

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    @property
    def data_hash(self) -> str:
        """SHA-256 of everything after the header, in hexadecimal: kohya's ``sshs_model_hash``."""
        return self._hash.hexdigest()

    def add(self, key: str, tensor: Tensor) -> None:
        """Write one tensor.

        Raises:
            PatchbayError: the key was there before, or the format has no such dtype.
        """
        import torch

        dtype = _DTYPES.get(str(tensor.dtype).removeprefix("torch."))
        if dtype is None:
            raise PatchbayError(
                f"{self.path.name}: the tensor {key} has a dtype that cannot be stored ({tensor.dtype}); nothing was "
                "written."
            )
        raw = tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8)
        self.add_raw(key, dtype, tuple(tensor.shape), [raw.numpy().data])

    def add_raw(self, key: str, dtype: str, shape: tuple[int, ...], pieces: Iterable[bytes | memoryview]) -> None:
        """Write one tensor from its bytes, in pieces.

        Args:
            dtype: As safetensors spells it: ``BF16``.

        Raises:
            PatchbayError: the key was there before.
        """
        if key in self._entries:
            raise PatchbayError(f"{self.path.name}: the tensor {key} is there twice; nothing was written.")
        start = self._position
        for data in pieces:
            self._file.write(data)
            self._hash.update(data)
            self._position += len(data)
        self._entries[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, self._position]}

    def finish(self, metadata: Mapping[str, str], otherwise: Callable[[], Path] | None = None) -> int:
        """Write the header and put the file in its place.

        Args:
            otherwise: Gives another path for a file that cannot be replaced, as Windows refuses it where a program
                has the old one mapped into its memory. ``path`` is where the file is in the end.

        Returns:
            Size of the file in bytes.

        Raises:
            PatchbayError: the header is longer than was announced, or than the format allows.
            OSError: the file cannot be written.
        """
        text = {_clean(key): _clean(value) for key, value in metadata.items()}
        raw = json.dumps({"__metadata__": text, **self._entries}, separators=(",", ":")).encode("ascii")
        if len(raw) > self._room or self._room > MAX_HEADER_BYTES:
            raise PatchbayError(
                f"{self.path.name}: its header would take {len(raw)} bytes, more than fits; shorten the metadata."
            )
        room = self._close_gap(len(raw))
        self._file.seek(0)
        self._file.write(room.to_bytes(8, "little") + raw.ljust(room))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        try:
            os.replace(self._temporary, self.path)
        except OSError:
            if otherwise is None or not self.path.exists():
                raise
            self.path = otherwise()
            os.replace(self._temporary, self.path)
        return 8 + room + self._position

    def _close_gap(self, header_bytes: int) -> int:
        """Move the tensors up to the header where the room left for it is a large part of the file.

        Returns:
            Bytes that the header may take now, a multiple of 8.
        """
        needed = -(-header_bytes // 8) * 8
        if (self._room - needed) * _SMALL_SHARE <= self._position:
            return self._room
        for start in range(0, self._position, _MOVED):  # forwards, so that nothing is overwritten before it is read
            self._file.seek(8 + self._room + start)
            part = self._file.read(min(_MOVED, self._position - start))
            self._file.seek(8 + needed + start)
            self._file.write(part)
        self._file.truncate(8 + needed + self._position)
        return needed


def metadata_size(metadata: Mapping[str, str]) -> int:
    """Bytes that metadata takes in a header."""
    return len(json.dumps({_clean(key): _clean(value) for key, value in metadata.items()}))


def _clean(text: str) -> str:
    """Text from a stranger's file without halves of surrogate pairs, which safetensors refuses."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
