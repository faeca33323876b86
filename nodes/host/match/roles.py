"""ComfyUI's patches with their tensors by role: the one place that knows where each lies in the tuple ``weights``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from comfy.weight_adapter import WeightAdapterBase

from .writer_adapters import WriterAdapter

PatchValue = Any
"""A ``WeightAdapterBase``, or ``("diff", (tensor,))`` or ``("set", (tensor,))``."""

ODD_TENSORS = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)
"""What ComfyUI's loader and adapters raise where tensors are missing or are not what their names say."""

_ALPHA, _MAGNITUDE, _NEW_SHAPE = "alpha", "dora_scale", "reshape"

_PLACES: Mapping[str, tuple[str, ...]] = {
    "lora": ("up", "down", _ALPHA, "mid", _MAGNITUDE, _NEW_SHAPE),
    "loha": ("hada_w1_a", "hada_w1_b", _ALPHA, "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", _MAGNITUDE),
    "lokr": (
        "lokr_w1", "lokr_w2", _ALPHA, "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2", _MAGNITUDE,
    ),
    "glora": ("a1", "a2", "b1", "b2", _ALPHA, _MAGNITUDE),
    "oft": ("oft_blocks", "rescale", _ALPHA, _MAGNITUDE),
    "boft": ("oft_blocks", "rescale", _ALPHA, _MAGNITUDE),
}  # fmt: skip

PRODUCTS = frozenset({"lora", "loha", "lokr", "glora"})
"""Kinds whose delta is made of products of the tensors alone (and of the weight, for GLoRA)."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What one patch is made of, by name."""

    value: PatchValue
    """The patch itself, as ComfyUI keeps it in a patcher's list."""
    kind: str
    """ComfyUI's or the writer's name of the format; ``diff``, ``set`` or ``model`` for a patch without an adapter."""
    tensors: Mapping[str, torch.Tensor]
    """By role, as the core library names them; a DoRA's magnitude is not among them."""
    alpha: float | None = None
    scale: float = 1.0
    """alpha / rank as ComfyUI counts the rank, or the writer's own."""
    magnitude: torch.Tensor | None = None
    """Of a DoRA."""
    new_shape: tuple[int, ...] | None = None
    """The shape that the weight is enlarged to first."""
    options: tuple[int, ...] = ()
    """How a writer's transform is computed, where it departs from the default."""
    by_writer: bool = False
    """Whether the arithmetic is the writer's own instead of ComfyUI's."""
    complete: bool = True
    """Whether the tensors are all: ComfyUI 0.38 and later keep rows of a Kronecker product as the whole with
    ``row_offset`` beside the tuple, and a later version may know more places."""

    @property
    def format(self) -> str:
        """Format in the field's words: ``lora``, ``dora (lora)``, ``lokr``, ``diff``, ``set``."""
        return self.kind if self.magnitude is None else f"dora ({self.kind})"

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter computes the change, not a plain difference."""
        return is_adapter(self.value)

    @property
    def rank(self) -> int | None:
        """Rank of a LoRA or LoHa; ``None`` where the format has none or the factors are stored whole."""
        role = {"lora": "down", "loha": "hada_w1_b"}.get(self.kind, "")
        return int(self.tensors[role].shape[0]) if role and not self.by_writer else None

    @property
    def is_plain_lora(self) -> bool:
        """Whether two factors and a scale are the whole patch, and ComfyUI multiplies them."""
        return (
            self.kind == "lora" and self.complete and not self.by_writer
            and self.magnitude is None and self.new_shape is None and "mid" not in self.tensors
        )  # fmt: skip

    @property
    def is_product(self) -> bool:
        """Whether it adds the product of two factors and nothing else; the weight may be enlarged with zeros first."""
        if self.kind != "lora" or self.by_writer or not self.complete:
            return False
        if self.magnitude is not None or "mid" in self.tensors:
            return False
        up, down = self.tensors["up"], self.tensors["down"]
        if up.dim() < 2 or down.dim() < 2 or not down.shape[0]:
            return False
        return bool(up.shape[1] * math.prod(up.shape[2:]) == down.shape[0])


def read_parts(value: PatchValue) -> Parts:
    """The parts of a patch as ComfyUI keeps it in a patcher's list."""
    if isinstance(value, WriterAdapter):
        tensors = value.tensors()
        magnitude = tensors.pop(_MAGNITUDE, None)
        return Parts(value, value.kind, tensors, None, value.scale, magnitude, None, value.options, by_writer=True)
    if isinstance(value, WeightAdapterBase):
        return _adapter_parts(value)
    if isinstance(value, list):
        return Parts(value, "model", {})
    named = len(value) == 2 and isinstance(value[0], str)
    kind, held = (value[0], value[1]) if named else ("diff", value)
    found = [part for part in held if isinstance(part, torch.Tensor)]
    return Parts(value, kind, {kind if not index else f"{kind}_{index}": part for index, part in enumerate(found)})


def _adapter_parts(value: Any) -> Parts:
    kind, places, weights = str(value.name), _PLACES.get(value.name), value.weights
    if not isinstance(weights, (tuple, list)):
        weights = (weights,)
    if places is None or len(weights) < len(places):
        tensors = {str(place): part for place, part in enumerate(weights) if isinstance(part, torch.Tensor)}
        return Parts(value, kind, tensors, complete=False)
    held = {role: part for role, part in zip(places, weights, strict=False) if part is not None}
    alpha, magnitude, new_shape = (held.pop(role, None) for role in (_ALPHA, _MAGNITUDE, _NEW_SHAPE))
    number = float(alpha) if isinstance(alpha, (int, float)) else None
    return Parts(
        value, kind, held, number, _scale(kind, held, number), magnitude,
        tuple(new_shape) if new_shape is not None else None, complete=getattr(value, "row_offset", None) is None,
    )  # fmt: skip


def with_parts(value: Any, **changed: Any) -> Any:
    """ComfyUI's adapter with other tensors (or another ``alpha``) in the places of these roles."""
    places = _PLACES[value.name]
    weights = list(value.weights)
    for role, part in changed.items():
        weights[places.index(role)] = part
    return type(value)(value.loaded_keys, tuple(weights))


def is_adapter(value: PatchValue) -> bool:
    """Whether a patch is one of ComfyUI's adapters (LoRA, LoKr and so on), not a plain difference."""
    return isinstance(value, WeightAdapterBase)


def patch_tensors(value: PatchValue) -> tuple[torch.Tensor, ...]:
    """All tensors that a patch carries."""
    if is_adapter(value):
        weights = value.weights if isinstance(value.weights, (tuple, list)) else (value.weights,)
        return tuple(w for w in weights if isinstance(w, torch.Tensor))
    parts = value[1] if len(value) == 2 and isinstance(value[0], str) else value
    return tuple(part for part in parts if isinstance(part, torch.Tensor))


def is_current_glora(roles: Mapping[str, torch.Tensor]) -> bool:
    """Whether the four factors of a GLoRA lie as LyCORIS writes them today; early versions wrote them transposed."""
    a1, a2, b1, b2 = (roles[role] for role in ("a1", "a2", "b1", "b2"))
    return bool(b2.shape[0] == b1.shape[1] == a1.shape[1] == a2.shape[0])


def _scale(kind: str, roles: Mapping[str, torch.Tensor], alpha: float | None) -> float:
    """alpha / rank as ComfyUI counts the rank."""
    if alpha is None:
        return 1.0
    rank = None
    if kind == "lora":
        rank = roles["down"].shape[0]
    elif kind == "loha":
        rank = roles["hada_w1_b"].shape[0]
    elif kind == "lokr":
        for name in ("lokr_w1_b", "lokr_w2_b"):
            rank = roles[name].shape[0] if name in roles else rank
    elif kind == "glora":
        rank = roles["a2" if is_current_glora(roles) else "a1"].shape[0]
    return alpha / rank if rank else 1.0
