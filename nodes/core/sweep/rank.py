"""Rankings of units, and how far two of them agree."""

from __future__ import annotations

import math
from collections.abc import Sequence


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1 for the smallest; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    found = [0.0] * len(values)
    begin = 0
    while begin < len(order):
        end = begin
        while end + 1 < len(order) and values[order[end + 1]] == values[order[begin]]:
            end += 1
        for place in range(begin, end + 1):
            found[order[place]] = (begin + end) / 2 + 1
        begin = end + 1
    return found


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rho: 1 for the same order, -1 for the reverse; ``None`` below two values or where one is constant."""
    if len(a) != len(b) or len(a) < 2:
        return None
    x, y = ranks(a), ranks(b)
    mean = (len(a) + 1) / 2
    product = math.fsum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    squares = math.fsum((p - mean) ** 2 for p in x) * math.fsum((q - mean) ** 2 for q in y)
    return product / math.sqrt(squares) if squares else None
