"""A merge done again, in the ways in which programs do it, and held against the stored bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..bake.merge_layer import Weight, part_rank, read_part
from ..bake.merge_plan import Blend
from ..errors import PatchbayError
from ..files.reader import TensorReader
from .changes import file_change

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Replay:
    """The way that came closest."""

    way: str
    exact: bool
    """Whether every byte is the same."""
    share: float
    """Share of numbers that are the same."""


def replay_layer(
    blend: Blend, readers: Sequence[TensorReader], tried: Sequence[Sequence[float]], base: Tensor, merged: Tensor,
    weight: Weight,
) -> Replay | None:  # fmt: skip
    """Merge again in every way with every choice of strengths; ``None`` where there is none.

    Args:
        tried: A strength for each file, the most likely choice first.
    """
    import torch

    best: Replay | None = None
    for way, again in (x for strengths in tried for x in _ways(blend, readers, strengths, base, weight)):
        alike = int(torch.count_nonzero(again.reshape(merged.shape) == merged))
        exact = alike == merged.numel() and again.dtype == merged.dtype
        share = alike / max(merged.numel(), 1)
        if best is None or share > best.share:
            best = Replay(way, exact, share)
        if exact:
            break
    return best


def _ways(
    blend: Blend, readers: Sequence[TensorReader], strengths: Sequence[float], base: Tensor, weight: Weight
) -> Iterator[tuple[str, Tensor]]:
    import torch

    numbers = [number for number in range(len(readers)) if any(part.source == number for part in blend.parts)]
    for order in (numbers, numbers[::-1]) if len(numbers) > 1 else (numbers,):
        said = " in the other order" if order != numbers else ""
        plain = [_product(blend, number, readers, torch.float32) for number in order]
        if all(product is not None for product in plain):
            total = base.float()
            for number, product in zip(order, plain, strict=True):
                assert product is not None
                total = total + (product[0] * (product[1] * strengths[number])).reshape(base.shape)
            yield f"factors multiplied and added in float32, rounded once{said}", total.to(base.dtype)
        changes = [(strengths[number], _dense(blend, number, readers, weight)) for number in order]
        total = base.float()
        for strength, change in changes:
            total = total + strength * change.reshape(base.shape)
        yield f"added in float32, rounded once{said}", total.to(base.dtype)
        if base.dtype == torch.float32:
            continue
        total = base
        for strength, change in changes:
            total = (total.float() + strength * change.reshape(base.shape)).to(base.dtype)
        yield f"each LoRA added in float32 and rounded{said}", total
        total = base
        for strength, change in changes:
            total = total + (strength * change).reshape(base.shape).to(base.dtype)
        yield f"changes rounded, then added in {str(base.dtype).removeprefix('torch.')}{said}", total
        low = [(strengths[number], _product(blend, number, readers, base.dtype)) for number in order]
        if all(product is not None for _, product in low):
            total = base
            for strength, product in low:
                assert product is not None
                total = total + (product[0] * product[1] * strength).reshape(base.shape)
            yield f"factors multiplied in {str(base.dtype).removeprefix('torch.')}{said}", total


def _dense(blend: Blend, number: int, readers: Sequence[TensorReader], weight: Weight) -> Tensor:
    change = file_change(blend, number, readers, weight)
    if change is None:
        raise PatchbayError(f"{blend.name}: file {number + 1} does not change it.")
    return change.dense().float()


def _product(
    blend: Blend, number: int, readers: Sequence[TensorReader], dtype: object
) -> tuple[Tensor, float] | None:
    """The product of the factors in a dtype, and its scale: as programs do it that load a LoRA in that."""
    parts = tuple(part for part in blend.parts if part.source == number)
    if len(parts) != 1 or not part_rank(parts[0]) or parts[0].layer.format not in ("lora", "locon"):
        return None
    if parts[0].offset is not None and not blend.own_names:
        return None
    layer = read_part(parts[0], replace(blend, parts=parts), readers[number])
    if "mid" in layer.tensors or layer.shares:
        return None
    up, down = (layer.tensors[role].flatten(1).to(dtype) for role in ("up", "down"))  # type: ignore[call-overload]
    return up @ down, layer.scale * layer.strength
