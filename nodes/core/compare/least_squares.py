"""Strengths of LoRAs in the difference of two weights, by least squares, some rows at a time.

``W - W0 = sum_i s_i D_i + rest``. The strengths solve ``G s = b`` with ``G_ij = <D_i, D_j>``, ``b_i = <D_i, W - W0>``;
their standard error is ``|rest| / (|D| sqrt(N))`` for N numbers, and what rounding the merged weight to its dtype
leaves as a rest is ``sqrt(sum(ulp(W)^2) / 12)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .changes import Change

if TYPE_CHECKING:
    from torch import Tensor

Gram = tuple[tuple[float, ...], ...]

_AT_ONCE = 1 << 18
"""Numbers of a weight that are looked at at once: 2 MB in float64, which stay in the cache."""


@dataclass(frozen=True)
class Measured:
    """What one weight says."""

    gram: Gram
    """``<D_i, D_j>``; 0 for a LoRA that does not change the weight."""
    right: tuple[float, ...]
    """``<D_i, W - W0>``."""
    square: float
    """``|W - W0|^2``."""
    rest_square: float
    count: int
    rounding: float
    strengths: tuple[float | None, ...]
    errors: tuple[float | None, ...]


def measure_weight(merged: Tensor, base: Tensor, changes: Sequence[Change | None]) -> Measured:
    """Strengths of ``changes`` in ``merged - base``, two weights of one shape."""
    flat = (merged.shape[0], -1) if merged.dim() > 1 else (1, -1)
    merged, base = merged.reshape(flat), base.reshape(flat)
    gram = tuple(tuple(0.0 if a is None or b is None else a.dot(b) for b in changes) for a in changes)
    right, square = [0.0] * len(changes), 0.0
    for rows in _row_parts(merged):
        difference = merged[rows].double() - base[rows].double()
        square += float(difference.square().sum())
        for number, change in enumerate(changes):
            if change is not None:
                right[number] += change.rows(rows).dot_whole(difference)
    count = merged.numel()
    solved, _ = solve_strengths([gram], [tuple(right)], [square], [count])
    rest = rounding = 0.0
    for rows in _row_parts(merged):
        # From the matrices: the difference of squares would lose what is small.
        left = merged[rows].double() - base[rows].double()
        for change, strength in zip(changes, solved, strict=True):
            if change is not None and strength:
                left -= strength * change.rows(rows).dense()
        rest += float(left.square().sum())
        rounding += _rounding_square(merged[rows])
    _, errors = solve_strengths([gram], [tuple(right)], [rest], [count])
    has = [change is not None and gram[i][i] > 0 for i, change in enumerate(changes)]
    return Measured(
        gram, tuple(right), square, rest, count, math.sqrt(rounding),
        tuple(s if there else None for s, there in zip(solved, has, strict=True)),
        tuple(e if there else None for e, there in zip(errors, has, strict=True)),
    )  # fmt: skip


def solve_strengths(
    grams: Sequence[Gram], rights: Sequence[tuple[float, ...]], rests: Sequence[float], counts: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Strengths over some weights, and their standard errors; those of files that are the same are shared evenly."""
    import torch

    if not grams:
        return (), ()
    gram = torch.tensor(grams, dtype=torch.float64).sum(0)
    right = torch.tensor(rights, dtype=torch.float64).sum(0)
    inverse = torch.linalg.pinv(gram, hermitian=True, rtol=1e-9)
    variance = sum(rests) / max(sum(counts), 1)
    errors = (inverse.diagonal().clamp_min(0) * variance).sqrt()
    return tuple((inverse @ right).tolist()), tuple(errors.tolist())


def _row_parts(weight: Tensor) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(weight.shape[1], 1))
    return (slice(start, start + step) for start in range(0, weight.shape[0], step))


def _rounding_square(weight: Tensor) -> float:
    """``sum(ulp^2) / 12`` of a weight's dtype, from how often each exponent occurs."""
    import torch

    whole, mantissa, exponents, bias = {
        torch.float16: (torch.int16, 10, 5, 15), torch.bfloat16: (torch.int16, 7, 8, 127),
        torch.float32: (torch.int32, 23, 8, 127), torch.float64: (torch.int64, 52, 11, 1023),
    }[weight.dtype]  # fmt: skip
    stored = (weight.contiguous().view(whole) >> mantissa) & ((1 << exponents) - 1)
    counts = torch.bincount(stored.flatten(), minlength=1 << exponents).double()
    # 0 is the exponent of zero and of what lies below the normal numbers, whose steps are those of the first of these.
    powers = torch.arange(1 << exponents, dtype=torch.float64).clamp_min(1) - bias - mantissa
    used = counts > 0
    return float((counts[used] * torch.exp2(2 * powers[used])).sum()) / 12
