"""Norms of ComfyUI's adapters by the exact forms of the core library, which never build the delta.

A LoKr over a weight of 150 million numbers is measured in milliseconds, and so is a layer that does not fit this model:
its own size does not depend on the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ...core.errors import AdapterFormatError
from ...core.lora.adapters import ADAPTERS, Adapter
from ..match.roles import ODD_TENSORS, PRODUCTS, Parts

_BY_NAME: Mapping[str, Adapter] = {adapter.name: adapter for adapter in ADAPTERS if adapter.name in PRODUCTS}


def exact_norm(parts: Parts, read_weight: Callable[[], torch.Tensor | None]) -> float | None:
    """Frobenius norm of what a patch adds at strength 1; ``None`` for formats and weights without an exact form here.

    Args:
        read_weight: Gives the unpatched weight (or slice), for GLoRA.
    """
    adapter = _adapter(parts)
    if adapter is None:
        return None
    tensors = parts.tensors
    if adapter.name == "loha" and "hada_t1" in tensors:
        return None  # measured by building it: there is no exact form
    weight = read_weight() if adapter.needs_weight else None
    if adapter.needs_weight and weight is None:
        return None
    try:
        on_cpu = {role: tensor.detach().cpu() for role, tensor in tensors.items()}
        return adapter.norm(on_cpu, parts.scale, None if weight is None else weight.detach().cpu())
    except (AdapterFormatError, *ODD_TENSORS):
        return None


def exact_work(parts: Parts) -> int | None:
    """About how many numbers :func:`exact_norm` makes, 0 for next to none; ``None`` where it needs a whole matrix."""
    if parts.kind == "lokr" and not parts.by_writer and parts.magnitude is None:
        return 0
    adapter = _adapter(parts)
    if adapter is None or adapter.needs_weight:
        return None
    if adapter.name != "loha":
        return 0
    if "hada_t1" in parts.tensors:
        return None
    first, second, other = (parts.tensors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_b"))
    return int(second.shape[0] * other.shape[0] * (first.shape[0] + second.shape[1]))


def _adapter(parts: Parts) -> Adapter | None:
    """The core library's adapter that measures a patch, where it has an exact form."""
    adapter = _BY_NAME.get(parts.kind) if parts.complete and parts.magnitude is None else None
    if adapter is None or parts.by_writer:
        return adapter
    if parts.new_shape is not None:
        return None  # enlarges the weight
    try:
        adapter.describe({role: tuple(tensor.shape) for role, tensor in parts.tensors.items()})
    except AdapterFormatError:
        return None
    return adapter
