"""GLoRA: a low-rank term beside one that is multiplied with the weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from .base import (
    Adapter,
    Described,
    Ranges,
    RowCut,
    Shape,
    Strength,
    Tensors,
    all_zero,
    as_float,
    mismatch,
    require_weight,
    whole_cut,
)  # fmt: skip
from .lowrank import column_gram, gram_norm, gram_strength, row_gram

if TYPE_CHECKING:
    from torch import Tensor


class GloraAdapter(Adapter):
    """``delta = scale * (W @ a1 @ a2 + b1 @ b2)``.

    ``a1`` [in, rank], ``a2`` [rank, in], ``b1`` [out, rank], ``b2`` [rank, in]. Early LyCORIS files have the four
    transposed (``W @ a2 @ a1 + b2 @ b1``). With the weight, ``[W a1 | b1] @ [a2; b2]`` is low-rank, so its norms are
    exact without the product. Source: 2306.07967 as LyCORIS ``modules/glora.py``.
    """

    name = "glora"
    suffixes: ClassVar[Mapping[str, str]] = {f"{name}.weight": name for name in ("a1", "a2", "b1", "b2")}
    roles = frozenset(suffixes.values())
    needs_weight = True

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return all(role in shapes for role in ("a1", "a2", "b1", "b2"))

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        a1, a2, b1, b2 = (shapes[name] for name in ("a1", "a2", "b1", "b2"))
        if any(len(shape) < 2 for shape in (a1, a2, b1, b2)):
            raise mismatch("a1, a2, b1, b2", "matrices", [list(s) for s in (a1, a2, b1, b2)])
        if _is_current(shapes):
            return Described("glora", a2[0], b1[0], a1[0], b2[2:])
        if b2[1] == b1[0] == a1[0] == a2[1]:
            note = "the four matrices are transposed, as early LyCORIS wrote them"
            return Described("glora", a1[0], b2[0], b1[1], note=note)
        raise mismatch("the rank of a1, a2, b1 and b2", "one rank", [list(s) for s in (a1, a2, b1, b2)])

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        matrix = require_weight(weight, "GLoRA")
        up, down = _factors(tensors, matrix)
        return (scale * (up @ down)).reshape(matrix.shape)

    def strength(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Strength:
        up, down = _factors(tensors, require_weight(weight, "GLoRA"))
        return gram_strength(column_gram(up), row_gram(down), scale)

    def norm(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> float:
        up, down = _factors(tensors, require_weight(weight, "GLoRA"))
        return gram_norm(column_gram(up), row_gram(down), scale)

    def is_dead(self, tensors: Tensors) -> bool:
        return all_zero(tensors["a1"], tensors["a2"]) and all_zero(tensors["b1"], tensors["b2"])

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        # The term with the weight takes its rows from the weight itself.
        return whole_cut(ranges, {"b1" if _is_current(shapes) else "b2": (0, ranges)})


def _is_current(shapes: Mapping[str, Shape]) -> bool:
    rank = shapes["a2"][0]
    # On a square weight both layouts match; the rank is then the smaller side.
    return shapes["b2"][0] == shapes["b1"][1] == shapes["a1"][1] == rank <= shapes["a2"][1]


def _factors(tensors: Tensors, weight: Tensor) -> tuple[Tensor, Tensor]:
    """``[W a1 | b1]`` [out, 2 rank] and ``[a2; b2]`` [2 rank, in]."""
    import torch

    a1, a2, b1, b2 = (as_float(tensors[name]).flatten(1) for name in ("a1", "a2", "b1", "b2"))
    if not _is_current({name: tuple(tensors[name].shape) for name in ("a1", "a2", "b1", "b2")}):
        a1, a2, b1, b2 = a2, a1, b2, b1
    if weight.dim() > 2:
        if product_of_kernel(weight) != 1:
            raise mismatch("GLoRA on a convolution", "a 1x1 kernel", list(weight.shape))
        weight = weight.flatten(1)
    if weight.shape != (b1.shape[0], b2.shape[1]) or weight.shape[1] != a1.shape[0]:
        raise mismatch("weight", [b1.shape[0], b2.shape[1]], list(weight.shape))
    return torch.cat([weight @ a1, b1], 1), torch.cat([a2, b2], 0)


def product_of_kernel(weight: Tensor) -> int:
    """Elements of the kernel of a convolution's weight."""
    return weight.shape[2:].numel()
