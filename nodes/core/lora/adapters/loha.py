"""LoHa: the elementwise product of two low-rank matrices."""

from __future__ import annotations

import math
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
    as_double,
    as_float,
    mismatch,
    whole_cut,
)  # fmt: skip
from .lowrank import gram_norm, gram_strength

if TYPE_CHECKING:
    from torch import Tensor

_GRAM_RANK = 256
"""Up to this product of ranks the Gram form is used (rank 16 for both factors)."""
_CHUNK_ELEMENTS = 4_000_000
_ITERATIONS = 200
_TOLERANCE = 1e-7


class LohaAdapter(Adapter):
    """``delta = scale * (w1_a @ w1_b) * (w2_a @ w2_b)``, elementwise.

    The product is itself low-rank: row ``i`` of its up factor is the outer product of the rows ``i`` of ``w1_a``
    and ``w2_a``, so its rank is at most ``rank^2`` and Gram matrices give its norms. With Tucker cores ``t1``, ``t2``
    [rank, rank, *kernel] the factors are ``sum t[i, j, k] w_a[i, o] w_b[j, n]``.
    Source: FedPara (2108.06098) as LyCORIS ``functional/loha.py``.
    """

    name = "loha"
    suffixes: ClassVar[Mapping[str, str]] = {
        name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")
    }
    roles = frozenset(suffixes.values())

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return all(role in shapes for role in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"))

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        w1_a, w1_b, w2_a, w2_b = (shapes[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
        if any(len(shape) != 2 for shape in (w1_a, w1_b, w2_a, w2_b)):
            raise mismatch(
                "the factors of a LoHa", "matrices", [list(w1_a), list(w1_b), list(w2_a), list(w2_b)]
            )
        rank = w1_b[0]
        if "hada_t1" in shapes and "hada_t2" in shapes:
            t1, t2 = shapes["hada_t1"], shapes["hada_t2"]
            fits = len(t1) >= 2 and t1[2:] == t2[2:] and t1[:2] == (w1_a[0], w1_b[0])
            if not fits or t2[:2] != (w2_a[0], w2_b[0]) or w1_a[1] != w2_a[1] or w1_b[1] != w2_b[1]:
                raise mismatch("hada_t1 and hada_t2", "[rank, rank, kernel]", f"{list(t1)} and {list(t2)}")
            return Described("loha", rank, w1_a[1], w1_b[1], t1[2:])
        if w1_a[1] != w1_b[0] or w2_a[1] != w2_b[0] or w1_a[0] != w2_a[0] or w1_b[1] != w2_b[1]:
            shown = [list(shape) for shape in (w1_a, w1_b, w2_a, w2_b)]
            raise mismatch("the factors of a LoHa", "[out, rank] and [rank, in] twice", shown)
        # A convolution without Tucker core has its kernel inside the columns.
        return Described("loha", rank, w1_a[0], w1_b[1])

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        if "hada_t1" in tensors and "hada_t2" in tensors:
            delta = scale * _tucker(tensors, 1) * _tucker(tensors, 2)
        else:
            first = as_float(tensors["hada_w1_a"]) @ as_float(tensors["hada_w1_b"])
            delta = scale * first * (as_float(tensors["hada_w2_a"]) @ as_float(tensors["hada_w2_b"]))
        return delta.reshape(weight.shape) if weight is not None else delta

    def strength(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Strength:
        if "hada_t1" in tensors and "hada_t2" in tensors:
            return super().strength(tensors, scale, weight)
        a1, b1, a2, b2 = (as_double(tensors[f"hada_{name}"]) for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
        if b1.shape[0] * b2.shape[0] <= _GRAM_RANK:
            return gram_strength(*_grams(a1, b1, a2, b2), scale)
        return Strength(abs(scale) * _chunked_norm(a1, b1, a2, b2), _times(scale, _power(a1, b1, a2, b2)))

    def norm(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> float:
        if "hada_t1" in tensors and "hada_t2" in tensors:
            return super().norm(tensors, scale, weight)
        a1, b1, a2, b2 = (as_double(tensors[f"hada_{name}"]) for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
        if b1.shape[0] * b2.shape[0] <= _GRAM_RANK:
            return gram_norm(*_grams(a1, b1, a2, b2), scale)
        return abs(scale) * _chunked_norm(a1, b1, a2, b2)

    def is_dead(self, tensors: Tensors) -> bool:
        return all_zero(*tensors.values())

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        dim = 1 if "hada_t1" in shapes else 0
        return whole_cut(ranges, {"hada_w1_a": (dim, ranges), "hada_w2_a": (dim, ranges)})


def _grams(a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
    """Gram matrices of the product's own factors, [rank^2, rank^2] each."""
    import torch

    up = torch.einsum("or,os->ors", a1, a2).flatten(1)  # [out, rank^2]
    down = torch.einsum("ri,si->rsi", b1, b2).flatten(0, 1)  # [rank^2, in]
    return up.T @ up, down @ down.T


def _times(scale: float, value: float | None) -> float | None:
    return None if value is None else abs(scale) * value


def _tucker(tensors: Tensors, number: int) -> Tensor:
    import torch

    core, w_a, w_b = (as_float(tensors[f"hada_{n}"]) for n in (f"t{number}", f"w{number}_a", f"w{number}_b"))
    return torch.einsum("ij...,io,jn->on...", core, w_a, w_b)


def _chunked_norm(a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor) -> float:
    """Exact norm, a few rows at a time: beyond rank 16 the rows cost less than the rank^2 Gram matrices."""
    import torch

    a1, b1, a2, b2 = (as_float(t) for t in (a1, b1, a2, b2))
    step = max(1, _CHUNK_ELEMENTS // b1.shape[1])
    squared = 0.0
    for start in range(0, a1.shape[0], step):
        rows = (a1[start : start + step] @ b1).mul_(a2[start : start + step] @ b2)
        squared += torch.linalg.vector_norm(rows, dtype=torch.float64).item() ** 2
    return math.sqrt(squared)


def _power(a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor) -> float | None:
    """Largest singular value by power iteration; ``None`` where it has not settled.

    ``delta @ v`` needs no delta: row ``i`` of it is ``a1_i (b1 diag(v) b2^T) a2_i^T``.
    """
    import torch

    vector = torch.randn(b1.shape[1], dtype=b1.dtype, generator=torch.Generator().manual_seed(0))
    value = 0.0
    for _ in range(_ITERATIONS):
        vector = vector / torch.linalg.vector_norm(vector).clamp_min(1e-300)
        image = ((a1 @ ((b1 * vector) @ b2.T)) * a2).sum(1)
        vector = (((a1.T * image) @ a2).T @ b1 * b2).sum(0)
        new = math.sqrt(torch.linalg.vector_norm(vector).item())
        if abs(new - value) <= _TOLERANCE * new:
            return new
        value = new
    return None
