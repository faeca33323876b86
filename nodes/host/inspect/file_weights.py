"""The weights of a model file, one at a time, by the keys that they would have if ComfyUI had loaded it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import safe_open

from ...core.check.model_file import model_tensors, read_model_file
from ...core.check.model_weights import FLOATS
from ...core.errors import IncompatibleModelError
from ...core.files.header import read_header
from ...core.files.tensors import Header
from ...core.match.diffusers_names import own_names
from ...core.model.blocks import MODEL_PREFIX

_SCALES = ("weight_scale", "scale_weight", "comfy_quant")


class FileWeights:
    """Reads weights of an open safetensors file."""

    def __init__(self, header: Header, names: dict[str, str], handle: Any) -> None:
        self._header = header
        self._names = names
        self._handle = handle

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of every weight that is stored whole, by ComfyUI's full key."""
        tensors = self._header.tensors
        return {key: tensors[name].shape for key, name in self._names.items() if self._is_whole(name)}

    def _is_whole(self, stored: str) -> bool:
        return not self._is_scaled(stored) and self._header.tensors[stored].dtype in FLOATS

    def _is_scaled(self, stored: str) -> bool:
        layer = stored.rpartition(".")[0]
        return any(f"{layer}.{scale}" in self._header.tensors for scale in _SCALES)

    def read(self, key: str) -> torch.Tensor | None:
        """The weight behind ComfyUI's full ``key``; ``None`` where the file has none, or stores it quantised."""
        stored = self._names.get(key)
        if stored is None or self._is_scaled(stored):
            return None
        tensor: torch.Tensor = self._handle.get_tensor(stored)
        return tensor if tensor.is_floating_point() else None


@contextmanager
def open_weights(path: str) -> Iterator[FileWeights]:
    """The weights of the model in the file at ``path``.

    Raises:
        HeaderError: the file is no model file, or is cut off.
        IncompatibleModelError: it holds no diffusion model, or is no safetensors file.
    """
    read_model_file(path)
    header = read_header(path)
    if header.container != "safetensors":
        raise IncompatibleModelError(
            f"{header.name}: is a {header.container} file, and weights are read from safetensors here; "
            "load it and connect it as model_b."
        )
    with safe_open(path, "pt") as handle:
        yield FileWeights(header, _stored_names(header), handle)


def _stored_names(header: Header) -> dict[str, str]:
    """Key of the loaded model to key of the file; what the file keeps in several pieces (q, k, v) is left out."""
    infos, architecture = model_tensors(header)
    by_mark = {1 << index: info.key for index, info in enumerate(infos.values())}
    marks = {name: (mark,) for name, mark in zip(infos, by_mark, strict=True)}
    own = own_names(marks, architecture)
    return {f"{MODEL_PREFIX}{name}": by_mark[mark[0]] for name, mark in own.items() if mark[0] in by_mark}
