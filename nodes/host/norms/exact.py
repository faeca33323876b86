"""Norms of ComfyUI's adapters by the exact forms of the core library, which never build the delta.

A LoKr over a weight of 150 million numbers is measured in milliseconds, and so is a layer that does not fit this model:
its own size does not depend on the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ...core.errors import AdapterFormatError
from ...core.lora.adapters import ADAPTERS, Adapter
from ..match.roles import PRODUCTS, product_roles
from ..match.stock import ODD_TENSORS, PatchValue, has_dora_scale, is_adapter
from ..match.writer_adapters import WriterAdapter

_BY_NAME: Mapping[str, Adapter] = {adapter.name: adapter for adapter in ADAPTERS if adapter.name in PRODUCTS}


def exact_norm(value: PatchValue, read_weight: Callable[[], torch.Tensor | None]) -> float | None:
    """Frobenius norm of what a patch adds at strength 1; ``None`` for formats and weights without an exact form here.

    Args:
        read_weight: Gives the unpatched weight (or slice), for GLoRA.
    """
    parts = _parts(value)
    if parts is None:
        return None
    adapter, tensors, scale = parts
    if adapter.name == "loha" and "hada_t1" in tensors:
        return None  # measured by building it: there is no exact form
    weight = read_weight() if adapter.needs_weight else None
    if adapter.needs_weight and weight is None:
        return None
    try:
        on_cpu = {role: tensor.detach().cpu() for role, tensor in tensors.items()}
        return adapter.norm(on_cpu, scale, None if weight is None else weight.detach().cpu())
    except (AdapterFormatError, *ODD_TENSORS):
        return None


def exact_work(value: PatchValue) -> int | None:
    """About how many numbers :func:`exact_norm` makes, 0 for next to none; ``None`` where it needs a whole matrix."""
    if is_adapter(value) and value.name == "lokr" and not has_dora_scale(value):
        return 0
    parts = _parts(value)
    if parts is None or parts[0].needs_weight:
        return None
    adapter, tensors, _ = parts
    if adapter.name != "loha":
        return 0
    if "hada_t1" in tensors:
        return None
    first, second, other = (tensors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_b"))
    return int(second.shape[0] * other.shape[0] * (first.shape[0] + second.shape[1]))


def _parts(value: PatchValue) -> tuple[Adapter, dict[str, torch.Tensor], float] | None:
    found = product_roles(value)
    if found is None or has_dora_scale(value):
        return None
    kind, tensors, scale = found
    adapter = _BY_NAME.get(kind)
    if adapter is None or "dora_scale" in tensors:
        return None
    if not isinstance(value, WriterAdapter):
        if kind == "lora" and value.weights[5] is not None:
            return None  # enlarges the weight
        try:
            adapter.describe({role: tuple(tensor.shape) for role, tensor in tensors.items()})
        except AdapterFormatError:
            return None
    return adapter, tensors, scale
