"""The best LoRA of a given rank or energy for any change of a weight, by singular values.

``|D - D_r|^2 = sum of the squared singular values that are left out`` (Eckart and Young 1936), so that an energy is a
fraction of the squared Frobenius norm. Where the change has factors (LoRA, LoHa, LoKr), the product is never built:
``U V = Qu (Ru Rv^T) Qv^T`` leaves a rank x rank matrix to decompose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import PatchbayError
from ..lora.adapters.base import as_double, as_float

if TYPE_CHECKING:
    from torch import Tensor

DOUBLE_ELEMENTS = 1 << 25
"""Factors up to this size are decomposed in float64, larger ones in float32."""

_NOISE = 1e-6
"""Singular values below this share of the largest are rounding, not change."""


@dataclass(frozen=True)
class Resizing:
    """How much of a layer is kept. Both limits count: the smaller rank wins."""

    rank: int = 0
    """Largest rank, 0 for no limit."""
    energy: float = 1.0
    """Fraction of the squared norm to keep, 1 for all of it."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise PatchbayError(f"rank: expected 1 or more, or 0 for no limit, got {self.rank}.")
        if not 0 < self.energy <= 1:
            raise PatchbayError(f"energy: expected a fraction above 0 and up to 1, got {self.energy}.")

    @property
    def keeps_all(self) -> bool:
        """Whether nothing is asked for."""
        return not self.rank and self.energy == 1.0

    def count(self, values: Tensor) -> int:
        """How many of these singular values (descending) are kept; at least one."""
        squares = values.double().square()
        total = float(squares.sum())
        kept = int((values > _NOISE * values[0]).sum()) if total else 1
        if self.energy < 1 and total:
            running = squares.cumsum(0) / total
            kept = min(kept, int((running < self.energy).sum()) + 1)
        return max(1, min(kept, self.rank or kept))


@dataclass(frozen=True)
class LowRank:
    """``up`` [out, rank] and ``down`` [rank, columns], and how far their product lies from what was asked for."""

    up: Tensor
    down: Tensor
    full_rank: int
    """Singular values that were there, rounding not counted."""

    @property
    def rank(self) -> int:
        """Rank that was kept."""
        return int(self.down.shape[0])


def factors(kind: str, tensors: Mapping[str, Tensor], scale: float) -> tuple[Tensor, Tensor] | None:
    """Exact factors [out, r] and [r, columns] of a layer's change, the kernel counted as columns.

    Returns:
        ``None`` for formats without factors, and where the product itself is smaller.
    """
    import torch

    if kind == "lora" and "reshape" not in tensors:
        up, down = as_float(tensors["up"]).flatten(1), as_float(tensors["down"]).flatten(1)
        if "mid" in tensors:
            mid = as_float(tensors["mid"])
            down = torch.einsum("mn...,ni->mi...", mid, down).flatten(1)
        return up * scale, down
    if kind == "loha" and "hada_t1" not in tensors:
        a1, b1, a2, b2 = (as_float(tensors[f"hada_{name}"]) for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
        if a1.shape[1] * a2.shape[1] > min(a1.shape[0], b1.shape[1]):
            return None
        up = torch.einsum("or,os->ors", a1, a2).flatten(1)
        return up * scale, torch.einsum("ri,si->rsi", b1, b2).flatten(0, 1)
    if kind == "lokr":
        first, second = _lokr_factor(tensors, 1), _lokr_factor(tensors, 2)
        if first is not None and second is not None:
            up, down = torch.kron(first[0], second[0]), torch.kron(first[1], second[1])
            return (up * scale, down) if up.shape[1] <= min(up.shape[0], down.shape[1]) else None
    return None


def factor_rank(kind: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Rank of what :func:`factors` gives, from shapes alone; 0 where it gives nothing."""
    if kind == "lora" and "reshape" not in shapes and "up" in shapes:
        return shapes["up"][1]
    if kind == "loha" and "hada_t1" not in shapes:
        rank = shapes["hada_w1_a"][1] * shapes["hada_w2_a"][1]
        return rank if rank <= min(shapes["hada_w1_a"][0], math.prod(shapes["hada_w1_b"][1:])) else 0
    if kind == "lokr" and "lokr_t2" not in shapes:
        sides = [_lokr_side(shapes, number) for number in (1, 2)]
        rows, columns, rank = (math.prod(side[i] for side in sides) for i in range(3))
        return rank if rank <= min(rows, columns) else 0
    return 0


def _lokr_side(shapes: Mapping[str, tuple[int, ...]], number: int) -> tuple[int, int, int]:
    whole = shapes.get(f"lokr_w{number}")
    if whole is not None:
        columns = math.prod(whole[1:])
        return whole[0], columns, min(whole[0], columns)
    left, right = shapes[f"lokr_w{number}_a"], shapes[f"lokr_w{number}_b"]
    return left[0], math.prod(right[1:]), left[1]


def _lokr_factor(tensors: Mapping[str, Tensor], number: int) -> tuple[Tensor, Tensor] | None:
    """Factors of one side of a Kronecker product; a whole one through its smaller side."""
    import torch

    whole = tensors.get(f"lokr_w{number}")
    if whole is not None:
        matrix = as_float(whole).flatten(1)
        rows, columns = matrix.shape
        return (torch.eye(rows), matrix) if rows <= columns else (matrix, torch.eye(columns))
    if number == 2 and "lokr_t2" in tensors:
        return None
    return as_float(tensors[f"lokr_w{number}_a"]), as_float(tensors[f"lokr_w{number}_b"]).flatten(1)


def reduce_factors(up: Tensor, down: Tensor, wanted: Resizing) -> LowRank:
    """The best approximation of ``up @ down`` within ``wanted``; both factors float32, with equal norms."""
    import torch

    double = max(up.numel(), down.numel()) <= DOUBLE_ELEMENTS
    cast = as_double if double else as_float
    q_up, r_up = torch.linalg.qr(cast(up))
    q_down, r_down = torch.linalg.qr(cast(down).T)
    left, values, right = torch.linalg.svd(r_up @ r_down.T, full_matrices=False)
    kept = wanted.count(values)
    root = values[:kept].sqrt()
    return LowRank(
        (q_up @ (left[:, :kept] * root)).float(), ((right[:kept].T * root).T @ q_down.T).float(), _significant(values)
    )


def reduce_dense(delta: Tensor, wanted: Resizing) -> LowRank:
    """The same for a change that is at hand as a matrix [out, columns], through the Gram matrix of its smaller side."""
    import torch

    if wanted.keeps_all:
        raise PatchbayError("to make a LoRA of a change without factors, give a rank or an energy below 1.")
    matrix = as_double(delta) if delta.numel() <= DOUBLE_ELEMENTS else as_float(delta)
    wide = matrix.shape[0] <= matrix.shape[1]
    gram = matrix @ matrix.T if wide else matrix.T @ matrix
    squares, vectors = torch.linalg.eigh(gram.double())
    values = squares.flip(0).clamp_min(0).sqrt()
    kept = wanted.count(values)
    basis = vectors.flip(1)[:, :kept].to(matrix.dtype)
    other = basis.T @ matrix if wide else matrix @ basis  # scaled by the singular values
    root = values[:kept].clamp_min(1e-30).sqrt().to(matrix.dtype)
    if wide:
        return LowRank((basis * root).float(), (other / root[:, None]).float(), _significant(values))
    return LowRank((other / root).float(), (basis * root).T.contiguous().float(), _significant(values))


def _significant(values: Tensor) -> int:
    return int((values > _NOISE * values[0]).sum()) if float(values[0]) > 0 else 0


def factor_error(up: Tensor, down: Tensor, new_up: Tensor, new_down: Tensor) -> float:
    """``|UV - U'V'| / |UV|`` from Gram matrices in float64; exact down to about 1e-8."""
    import torch

    both = torch.cat([as_double(up), -as_double(new_up)], 1)
    rows = torch.cat([as_double(down), as_double(new_down)], 0)
    wrong = float(((both.T @ both) * (rows @ rows.T)).sum())
    count = up.shape[1]
    total = float(((both[:, :count].T @ both[:, :count]) * (rows[:count] @ rows[:count].T)).sum())
    return math.sqrt(max(wrong, 0.0) / total) if total > 0 else 0.0


def dense_error(delta: Tensor, up: Tensor, down: Tensor) -> float:
    """``|D - UV| / |D|``."""
    import torch

    total = float(torch.linalg.vector_norm(delta, dtype=torch.float64))
    wrong = float(torch.linalg.vector_norm(as_float(delta) - as_float(up) @ as_float(down), dtype=torch.float64))
    return wrong / total if total else 0.0
