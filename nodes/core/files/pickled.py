"""PyTorch pickles (.pt, .bin, .pth, .ckpt) as headers, through torch's ``weights_only`` loader alone."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import HeaderError
from .tensors import Header, TensorInfo

MAX_LEGACY_BYTES = 2_000_000_000
"""Files in the format before torch 1.6 cannot be mapped and are loaded whole, up to this size."""

_MAX_DEPTH = 8
_MAX_METADATA = 500
_SAFETENSORS_NAMES = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip


def read_pickle(path: Path, size_bytes: int) -> Header:
    """Tensors and plain values of a pickle, flattened with dots; nothing in it can run code.

    Raises:
        HeaderError: torch is missing, refuses the file, or it holds no tensor.
    """
    try:
        import torch
    except ImportError as error:
        raise HeaderError(
            f"{path.name}: a PyTorch pickle; reading it needs torch. Install with: python -m pip install torch"
        ) from error
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    if not zipped and size_bytes > MAX_LEGACY_BYTES:
        raise HeaderError(
            f"{path.name}: a PyTorch pickle of the old kind with {size_bytes} bytes; it can only be loaded "
            "whole. Convert it to safetensors."
        )
    try:
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        EOFError,
        KeyError,
        TypeError,
        OSError,
    ) as error:
        reason = str(error).strip().split("\n", 1)[0][:160]
        raise HeaderError(
            f"{path.name}: not a PyTorch file that can be read safely (weights only): {reason}"
        ) from error
    tensors: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    _flatten(data, "", tensors, metadata, torch.Tensor, 0)
    if not tensors:
        raise HeaderError(f"{path.name}: a pickle without any tensor; not a model.")
    infos: dict[str, TensorInfo] = {}
    start = 0
    for key, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        end = start + tensor.numel() * tensor.element_size()
        infos[key] = TensorInfo(key, _SAFETENSORS_NAMES.get(dtype, dtype), tuple(tensor.shape), start, end)
        start = end
    return Header(path.name, size_bytes, "pickle", infos, metadata, path, loaded=tensors)


def _flatten(
    value: Any, key: str, tensors: dict[str, Any], metadata: dict[str, str], tensor_class: type, depth: int
) -> None:
    """A lone ``state_dict`` wrapper is left out of the names, as ComfyUI does."""
    if isinstance(value, tensor_class):
        tensors[key or "tensor"] = value
    elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for name, item in cast("Mapping[Any, Any]", value).items():
            wrapper = not key and name == "state_dict"
            path = "" if wrapper else f"{key}.{name}" if key else str(name)
            _flatten(item, path, tensors, metadata, tensor_class, depth + 1)
    elif isinstance(value, (list, tuple)) and depth < _MAX_DEPTH:
        for index, item in enumerate(cast("list[Any]", value)[:_MAX_METADATA]):
            _flatten(
                item, f"{key}.{index}" if key else str(index), tensors, metadata, tensor_class, depth + 1
            )
    elif isinstance(value, (str, int, float, bool)) and len(metadata) < _MAX_METADATA:
        metadata[key] = str(value)
