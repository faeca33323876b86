"""Medians, quartiles, and ratios of paired runs with their confidence intervals.

Evaluations of one run are not independent of each other, runs nearly are: an interval counts runs. Pairs of runs that
follow each other share the machine's mood (clocks, heat, other programs), which therefore drops out of their ratio.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .runs import Ratio, Spread

WARN_IQR = 0.10
"""A spread above this share of the median is worth a word (the threshold of torch.utils.benchmark)."""
REFUSE_IQR = 0.25
"""A spread above this share of the median supports no verdict."""

_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie, linear between neighbours (numpy's default)."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def median(values: Iterable[float]) -> float | None:
    """The median, or ``None`` of nothing."""
    known = list(values)
    return quantile(known, 0.5) if known else None


def spread_of(values: Sequence[float]) -> Spread | None:
    """Median and quartiles, or ``None`` of nothing."""
    if not values:
        return None
    return Spread(quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75), len(values))


def t95(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t; beyond 30 degrees of freedom an expansion, good to 0.001."""
    if degrees < 1:
        raise ValueError(f"degrees of freedom: expected at least 1, got {degrees}.")
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def paired_ratio(a: Sequence[float | None], b: Sequence[float | None]) -> Ratio:
    """Geometric mean of ``b[i] / a[i]`` with the 95 % interval of Student's t over the pairs.

    Values that are missing or not positive drop their pair.
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=False) if x is not None and y is not None and x > 0 and y > 0]
    if not pairs:
        return Ratio(None, reason="no pair of runs with both figures")
    logs = [math.log(y / x) for x, y in pairs]
    mean = math.fsum(logs) / len(logs)
    if len(logs) < 2:
        return Ratio(math.exp(mean), n=1, reason="one pair of runs gives no interval")
    variance = math.fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    half = t95(len(logs) - 1) * math.sqrt(variance / len(logs))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs))


def half_width(ratio: Ratio) -> float | None:
    """Half of a ratio's interval as a share of the ratio, or ``None`` without an interval."""
    if not ratio.value or ratio.low is None or ratio.high is None:
        return None
    return (ratio.high - ratio.low) / 2 / ratio.value


def narrow_enough(ratios: Iterable[Ratio], precision: float) -> bool:
    """Whether every ratio is known to within ``precision`` (0.02 for 2 %)."""
    widths = [half_width(ratio) for ratio in ratios]
    return bool(widths) and all(width is not None and width <= precision for width in widths)
