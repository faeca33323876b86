"""ComfyUI's adapters with their tensors by role: the one place that knows where each lies in the tuple ``weights``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .stock import PatchValue, is_adapter
from .writer_adapters import WriterAdapter

_PLACES: Mapping[str, tuple[str | None, ...]] = {
    "lora": ("up", "down", None, "mid", None, None),
    "loha": ("hada_w1_a", "hada_w1_b", None, "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", None),
    "lokr": (
        "lokr_w1", "lokr_w2", None, "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2", None,
    ),
    "glora": ("a1", "a2", "b1", "b2", None, None),
}  # fmt: skip
"""``None`` is alpha, DoRA scale or a new shape."""

PRODUCTS = frozenset(_PLACES)
"""Names of ComfyUI's adapters that :func:`product_roles` reads."""


def product_roles(value: PatchValue) -> tuple[str, dict[str, torch.Tensor], float] | None:
    """Kind, tensors by role and scale of an adapter whose delta is a product; ``None`` for what cannot be read so.

    ComfyUI 0.38 and later keep rows of a Kronecker product as the whole with ``row_offset`` beside the tuple: such a
    one is left to ComfyUI's own arithmetic.
    """
    if isinstance(value, WriterAdapter):
        return str(value.weights[0]), value.tensors(), value.scale
    if not is_adapter(value) or value.name not in _PLACES or getattr(value, "row_offset", None) is not None:
        return None
    weights: Any = value.weights
    places = _PLACES[value.name]
    if len(weights) < len(places):
        return None
    pairs = zip(places, weights, strict=False)
    roles = {role: tensor for role, tensor in pairs if role is not None and tensor is not None}
    return str(value.name), roles, _scale(value.name, roles, weights[4 if value.name == "glora" else 2])


def _scale(kind: str, roles: Mapping[str, torch.Tensor], alpha: float | None) -> float:
    """alpha / rank as ComfyUI counts the rank."""
    rank = None
    if kind == "lora":
        rank = roles["down"].shape[0]
    elif kind == "loha":
        rank = roles["hada_w1_b"].shape[0]
    elif kind == "lokr":
        for name in ("lokr_w1_b", "lokr_w2_b"):
            rank = roles[name].shape[0] if name in roles else rank
    elif kind == "glora":
        rank = min(roles["a2"].shape)
    return 1.0 if alpha is None or not rank else float(alpha) / rank
