"""Changes of parts of a weight as one change of the whole: for a loader that has a name for the weight alone.

What lies outside of a part is left alone by rows (or columns) of zeros. That is exact. A LoRA, a LoHa and, where its
blocks end at the part's edges, a LoKr keep their format; several that meet at one weight become one LoRA of all their
ranks, and what has no two factors becomes a whole difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .converted import factors_by_parts, lora_factors
from .layer import BakeLayer
from .scaled import by_parts

if TYPE_CHECKING:
    from torch import Tensor

Offset = tuple[int, int, int]

_SIDES = {
    "lora": (("up",), ("down",)),
    "loha": (("hada_w1_a", "hada_w2_a"), ("hada_w1_b", "hada_w2_b")),
}
"""Tensors that hold the rows, and those that hold the columns."""


@dataclass(frozen=True)
class Part:
    """A layer that changes a part of a weight."""

    layer: BakeLayer
    offset: Offset | None
    """``(dim, start, length)``, or ``None`` for one that changes the whole."""
    in_order: bool = True
    """Whether its tensors have the rows in the weight's own order; otherwise its ``delta`` alone does."""


def on_whole_weight(parts: Sequence[Part], name: str, shape: tuple[int, ...]) -> BakeLayer:
    """One layer that does to a weight of ``shape`` what all the parts do together.

    Args:
        name: Under which the weight is known.
    """
    made = _alone(parts[0], shape) if len(parts) == 1 else None
    made = made or _stacked(parts, shape) or _difference(parts, shape)
    return replace(made, name=name, shape=shape, suffixes={}, tied="")


def _alone(part: Part, shape: tuple[int, ...]) -> BakeLayer | None:
    """The layer in its own format, with zeros around it; ``None`` where the format has no room for them."""
    layer, offset = part.layer, part.offset
    if offset is None or not part.in_order or layer.dora or not layer.stock_reads:
        return None
    dim, start, _ = offset
    tensors = dict(layer.tensors)
    if layer.kind == "lokr" and "lokr_t2" not in tensors and not layer.shares:
        first = "lokr_w1" if "lokr_w1" in tensors else f"lokr_w1_{'ab'[dim]}"
        second = "lokr_w2" if "lokr_w2" in tensors else f"lokr_w2_{'ab'[dim]}"
        block = int(tensors[second].shape[dim])
        if start % block or shape[dim] % block:
            return None
        tensors[first] = _inside(tensors[first], dim, start // block, shape[dim] // block)
    elif layer.kind in _SIDES and not tensors.keys() & {"mid", "hada_t1", "reshape"}:
        for role in _SIDES[layer.kind][dim]:
            tensors[role] = _inside(tensors[role], dim, start, shape[dim])
    else:
        return None
    return replace(layer, tensors=tensors, shares=_moved(layer, offset, shape[dim]))


def _moved(layer: BakeLayer, offset: Offset, total: int) -> tuple[tuple[int, int, int, float], ...]:
    """The strengths of the layer's parts, counted from the beginning of the weight; outside of it there is nothing."""
    if not layer.shares:
        return ()
    dim, start, length = offset
    strongest = max((share[3] for share in layer.shares), key=abs)
    inner = [(d, first + start if d == dim else first, count, s) for d, first, count, s in layer.shares]
    if layer.shares[0][0] != dim:
        return tuple(inner)
    gaps = ((dim, 0, start, strongest), (dim, start + length, total - start - length, strongest))
    return tuple(share for share in (gaps[0], *inner, gaps[1]) if share[2])


def _stacked(parts: Sequence[Part], shape: tuple[int, ...]) -> BakeLayer | None:
    """One LoRA of all ranks, float32; ``None`` where a part has no two factors or they are no smaller than a weight."""
    import torch

    ups: list[Tensor] = []
    downs: list[Tensor] = []
    for part in parts:
        made = lora_factors(part.layer) if part.in_order else None
        if made is None:
            return None
        up, down = factors_by_parts(made, part.layer)
        if part.offset is not None and part.offset[0] == 0:
            up = _inside(up, 0, part.offset[1], shape[0])
        elif part.offset is not None:
            size = down.shape[1] // part.layer.shape[1]  # elements of the kernel
            down = _inside(down, 1, part.offset[1] * size, shape[1] * size)
        ups.append(up)
        downs.append(down)
    up, down = torch.cat(ups, 1), torch.cat(downs)
    rank = int(down.shape[0])
    if rank * (shape[0] + down.shape[1]) > shape[0] * down.shape[1]:
        return None
    kernel = shape[2:]
    tensors = {"up": up.reshape(*up.shape, *[1] * len(kernel)), "down": down.reshape(rank, shape[1], *kernel)}
    first = parts[0].layer
    return BakeLayer(first.name, "lora", tensors, shape, rank=rank, factor_suffixes=first.factor_suffixes)


def _difference(parts: Sequence[Part], shape: tuple[int, ...]) -> BakeLayer:
    """A whole difference; it is built when it is written."""
    import torch

    first = parts[0].layer

    def build() -> Tensor:
        whole = torch.zeros(shape)
        for part in parts:
            assert part.layer.delta is not None
            change = by_parts(part.layer.delta().float().reshape(part.layer.shape), part.layer)
            (whole if part.offset is None else whole.narrow(*part.offset)).add_(change)
        return whole

    return replace(
        first, strength=1.0, shares=(), dora=False, stock_reads=True, delta=build, only_as_difference=True
    )  # fmt: skip


def _inside(tensor: Tensor, dim: int, start: int, total: int) -> Tensor:
    """The tensor with zeros before and after it along ``dim``."""
    whole = tensor.new_zeros(*tensor.shape[:dim], total, *tensor.shape[dim + 1 :])
    whole.narrow(dim, start, tensor.shape[dim]).copy_(tensor)
    return whole
