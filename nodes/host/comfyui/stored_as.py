"""How a loaded weight is stored, in the words that the pages and reports use for files."""

from __future__ import annotations

from typing import Any

import torch
from comfy import quant_ops

from ...core.files.storage import comfy_format, dtype_format
from .private import quantised_layout, quantised_parts

_DTYPES = {torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int8: "I8"}


def stored_as(weight: Any) -> str:
    """The format of a quantised weight, as a file's is named; empty for one that holds plain numbers."""
    if weight is None:
        return ""
    if hasattr(weight, "tensor_type"):  # ComfyUI-GGUF
        kind = weight.tensor_type
        name = getattr(kind, "name", str(kind))
        return "" if name in ("F32", "F16", "BF16") else f"GGUF {name}"
    if quantised_layout(weight):
        layout, params = quantised_parts(weight)
        return comfy_format(_algorithm(layout), bool(getattr(params, "convrot", False)))
    dtype = getattr(weight, "dtype", None)
    return dtype_format(_DTYPES[dtype]) if dtype in _DTYPES else ""


def _algorithm(layout: str) -> str:
    """The name that a file gives the format of a layout; where ComfyUI has none, the layout's own."""
    known: dict[str, Any] = getattr(quant_ops, "QUANT_ALGOS", {})
    for name, entry in known.items():
        if entry.get("comfy_tensor_layout") == layout:
            return name
    return layout.removeprefix("TensorCore").removesuffix("Layout")
