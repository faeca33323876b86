"""What rank a change needs: its singular values through its factors, without the product."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .changes import Change

if TYPE_CHECKING:
    from torch import Tensor

ENERGIES = (0.95, 0.98, 0.99)
_ROUNDING = 2.0**-9 / math.sqrt(3)
"""Relative size of what rounding to bfloat16 does to a number on average (a uniform error of half a step)."""
_OVER = 2
"""A rank of more than this many times the rank for 99 % is more than the layer uses."""


@dataclass(frozen=True)
class RankAdvice:
    """One layer."""

    rank: int | None
    """As stored; ``None`` for a whole difference."""
    for_energy: tuple[int, ...]
    """Smallest ranks that keep :data:`ENERGIES` of the squared norm; zeros for a dead layer."""
    above_noise: int
    """Singular values above what rounding the factors to bfloat16 would leave by itself."""
    norm: float

    @property
    def is_dead(self) -> bool:
        """Whether it changes nothing."""
        return self.norm == 0.0

    @property
    def is_over_ranked(self) -> bool:
        """Whether its rank is more than twice what 99 % of it needs."""
        return self.rank is not None and not self.is_dead and self.rank > _OVER * self.for_energy[-1]


def singular_values(change: Change) -> Tensor:
    """Descending, float64. ``U V = Qu (Ru Rv^T) Qv^T``: only a rank x rank matrix is decomposed."""
    import torch

    if change.up is not None and change.down is not None:
        upper, lower = torch.linalg.qr(change.up)[1], torch.linalg.qr(change.down.T)[1]
        return torch.linalg.svdvals(upper @ lower.T)
    whole = change.dense()
    gram = whole @ whole.T if whole.shape[0] <= whole.shape[1] else whole.T @ whole
    return torch.linalg.eigvalsh(gram).flip(0).clamp_min(0).sqrt()


def advise_rank(change: Change, rank: int | None = None) -> RankAdvice:
    """Ranks for a change.

    The noise floor: rounding both factors changes ``D`` by about ``sqrt(2) u |D|``, spread over as many directions as
    there are singular values, so that each of them is moved by ``u |D| sqrt(2 / count)``.

    Args:
        rank: As stored in the file.
    """
    return advise_values(singular_values(change), rank)


def advise_values(values: Tensor, rank: int | None = None) -> RankAdvice:
    """The same from its singular values, descending."""
    squares = values.square()
    total = float(squares.sum())
    if total == 0.0:
        return RankAdvice(rank, (0,) * len(ENERGIES), 0, 0.0)
    share = squares.cumsum(0) / total
    needed = tuple(min(int((share < energy).sum()) + 1, len(values)) for energy in ENERGIES)
    floor = _ROUNDING * math.sqrt(total) * math.sqrt(2 / len(values))
    return RankAdvice(rank, needed, int((values > floor).sum()), math.sqrt(total))
