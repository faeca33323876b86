"""Statistics of features that stream by: moments of each channel, a histogram, and a random projection.

Everything is summed in float64. Two models are compared through these figures alone, so they need not be in memory
together; what that costs in accuracy is said at :class:`Sketcher`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

SKETCH_SIZE = 4096
"""Numbers that a feature tensor is projected to; see :class:`Sketcher` for the accuracy."""

PIECE = 1 << 21
"""Elements that are worked on at a time: float64 copies stay below 20 MB each."""

_OCTAVE_BINS = 8
_LOWEST_EXPONENT = -14
_HIGHEST_EXPONENT = 15
_SIDE = (_HIGHEST_EXPONENT - _LOWEST_EXPONENT) * _OCTAVE_BINS
HISTOGRAM_BINS = 2 * _SIDE + 1
"""Bins of the universal grid: both signs, 8 bins an octave from 2^-14 to 2^15, and one bin around 0."""


@dataclass
class ChannelMoments:
    """Count, mean and sum of squared deviations of each channel; merged by Chan, Golub and LeVeque's formula."""

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    """[channels], float64."""
    squares: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    """[channels], sum of squared deviations from the mean, float64."""

    def add(self, rows: Tensor) -> None:
        """Take in ``rows`` [tokens, channels] of any float dtype."""
        rows = rows.double()
        mean = rows.mean(0)
        self.merge(ChannelMoments(rows.shape[0], mean, (rows - mean).square().sum(0)))

    def merge(self, other: ChannelMoments) -> None:
        """Take in what another one has seen."""
        if not other.count:
            return
        mean, squares = other.mean.cpu(), other.squares.cpu()
        if not self.count:
            self.count, self.mean, self.squares = other.count, mean, squares
            return
        total = self.count + other.count
        step = mean - self.mean
        self.squares = self.squares + squares + step.square() * (self.count * other.count / total)
        self.mean = self.mean + step * (other.count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """[channels], the population variance."""
        return self.squares / max(self.count, 1)


def diagonal_frechet(a: ChannelMoments, b: ChannelMoments) -> float:
    """``(|mean_b - mean_a|^2 + |std_b - std_a|^2) / sum(var_a)``: the Frechet distance of two Gaussians with diagonal
    covariances (Dowson and Landau 1982), in units of the first one's variance. ``nan`` where that has none."""
    spread = float(a.variance.sum())
    moved = (b.mean - a.mean).square().sum() + (b.variance.sqrt() - a.variance.sqrt()).square().sum()
    return float(moved) / spread if spread > 0 else (0.0 if float(moved) == 0 else math.nan)


def moved_channels(a: ChannelMoments, b: ChannelMoments, count: int) -> list[tuple[int, float]]:
    """The channels whose mean and deviation moved most, with how far: in root-mean-square deviations of ``a``."""
    scale = math.sqrt(float(a.variance.mean())) or 1.0
    moved = ((b.mean - a.mean).square() + (b.variance.sqrt() - a.variance.sqrt()).square()).sqrt() / scale
    values, channels = moved.topk(min(count, moved.numel()))
    return [(int(channel), float(value)) for channel, value in zip(channels, values, strict=True) if value > 0]


def count_values(values: Tensor) -> Tensor:
    """[HISTOGRAM_BINS] int64: how many of ``values`` lie in each bin of the universal grid.

    The grid is the same for every model, so that histograms taken at different times can be laid over each other.
    Values beyond its ends are counted in the outermost bins; values that are no numbers are not counted.
    """
    flat = values.detach().reshape(-1).float()
    flat = flat[flat.isfinite()]
    place = (flat.abs().clamp_min(1e-30).log2() - _LOWEST_EXPONENT) * _OCTAVE_BINS
    step = place.floor().long().clamp(-1, _SIDE - 1) + 1  # 0 is the middle bin
    index = torch.where(flat < 0, -step, step) + _SIDE
    return torch.bincount(index, minlength=HISTOGRAM_BINS).cpu()


def histogram_edges() -> Tensor:
    """[HISTOGRAM_BINS + 1] float64, ascending; the outermost bins also hold what lies beyond them."""
    exponent = torch.arange(_SIDE + 1, dtype=torch.float64) / _OCTAVE_BINS + _LOWEST_EXPONENT
    side = torch.exp2(exponent)
    return torch.cat((-side.flip(0), side))


def rebin(counts: Tensor, low: float, high: float, bins: int) -> list[float]:
    """Shares of the values in ``bins`` equal bins of [low, high], spread evenly inside each bin of the grid."""
    edges = histogram_edges()
    below = torch.cat((torch.zeros(1, dtype=torch.float64), counts.double().cumsum(0)))
    total = float(below[-1]) or 1.0
    wanted = torch.linspace(low, high, bins + 1, dtype=torch.float64)
    at = torch.searchsorted(edges, wanted).clamp(1, HISTOGRAM_BINS)
    share = ((wanted - edges[at - 1]) / (edges[at] - edges[at - 1])).clamp(0, 1)
    cumulative = below[at - 1] + share * (below[at] - below[at - 1])
    return ((cumulative[1:] - cumulative[:-1]) / total).tolist()


def quantile(counts: Tensor, share: float) -> float:
    """The value below which ``share`` of the counted values lie, to the width of a bin (9 %)."""
    below = counts.double().cumsum(0)
    if not float(below[-1]):
        return 0.0
    place = int(torch.searchsorted(below, share * float(below[-1])).clamp_max(HISTOGRAM_BINS - 1))
    edges = histogram_edges()
    return float(edges[place] if share < 0.5 else edges[place + 1])


class Sketcher:
    """A seeded random projection of tensors to ``size`` numbers that keeps lengths and inner products.

    The entries are shuffled, given random signs and summed in ``size`` groups (a count sketch, Charikar, Chen and
    Farach-Colton 2002). It is linear, so ``sketch(b) - sketch(a)`` is the sketch of ``b - a``, and it keeps a squared
    length with a relative standard error of at most ``sqrt(2 / size)``: 2.2 % for 4096, or 1.1 % of the length. Sums
    over several tensors are more accurate. The order of summation is fixed: equal tensors give equal sketches.
    """

    def __init__(self, size: int = SKETCH_SIZE, seed: int = 20260118) -> None:
        self._size = size
        self._seed = seed
        self._plans: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def __call__(self, values: Tensor) -> Tensor:
        """[size] float32 on the CPU, for a tensor of any shape."""
        flat = values.detach().reshape(-1)
        if flat.numel() <= self._size:
            padded = torch.zeros(self._size, dtype=torch.float32)
            padded[: flat.numel()] = flat.float().cpu()
            return padded  # it fits as it is
        order, signs = self._plan(flat.numel(), flat.device)
        total = torch.zeros(self._size, dtype=torch.float64, device=flat.device)
        piece = max(1, PIECE // self._size) * self._size
        for part, sign in zip(order.split(piece), signs.split(piece), strict=True):
            shuffled = torch.nn.functional.pad(flat[part].double() * sign, (0, -part.numel() % self._size))
            total += shuffled.view(-1, self._size).sum(0)
        return total.float().cpu()

    def forget(self) -> None:
        """Drop the permutations and signs, 5 bytes for each number of a feature tensor of each size and device.

        They come out the same again: what was sketched before and after can be compared.
        """
        self._plans.clear()

    def _plan(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        key = (count, device)
        if key not in self._plans:
            generator = torch.Generator().manual_seed(self._seed + count)
            order = torch.randperm(count, generator=generator)
            signs = torch.randint(0, 2, (count,), generator=generator, dtype=torch.int8) * 2 - 1
            index = order.int() if count < 2**31 else order
            self._plans[key] = (index.to(device), signs.to(device))
        return self._plans[key]
