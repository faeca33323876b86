"""The weights of a model file, one at a time, by the names that ComfyUI gives them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..files.elsewhere.source import Source
from ..files.header import read_header
from ..files.reader import TensorReader
from ..files.storage import is_storage_key
from ..files.tensors import TensorInfo
from ..model.blocks import MODEL_PREFIX
from .model_file import model_tensors

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Dtypes that hold a weight whole; of a quantised one the numbers alone are not the weight."""


class ModelWeights:
    """A context manager over one file. Weights stored under diffusers' names are not found."""

    def __init__(self, path: Path | Source) -> None:
        """
        Args:
            path: A file elsewhere gives each tensor when it is asked for.

        Raises:
            HeaderError: the file is no model file, or cannot be read tensor by tensor.
            OSError: it cannot be opened.
        """
        header = read_header(path)
        self._reader = TensorReader(header)
        tensors, self.architecture = model_tensors(header)
        scaled = {name.rpartition(".")[0] for name in header.tensors if is_storage_key(name)}
        self._infos: Mapping[str, TensorInfo] = {
            f"{MODEL_PREFIX}{name}": info
            for name, info in tensors.items()
            if info.dtype in FLOATS and info.key.rpartition(".")[0] not in scaled
        }

    def __enter__(self) -> ModelWeights:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every weight that is stored whole, by its full key."""
        return {key: info.shape for key, info in self._infos.items()}

    def read(self, key: str) -> Tensor | None:
        """A weight in its own dtype by its full key; ``None`` where the file does not hold it whole.

        Raises:
            HeaderError: the file became shorter while it was read.
        """
        info = self._infos.get(key)
        return None if info is None else self._reader.read(info.key)

    def same_bytes(self, other: ModelWeights, key: str) -> bool:
        """Whether a weight is stored alike, bit for bit, in two files."""
        one, two = self._infos.get(key), other._infos.get(key)
        if one is None or two is None or one.dtype != two.dtype or one.shape != two.shape:
            return False
        return self._reader.raw(one.key) == other._reader.raw(two.key)
