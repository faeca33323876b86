"""Rules that set strengths without looking at the model's output: for comparison, and the guard without a reference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

INVERSE_NORM_BOUNDS = (0.30, 1.50)
GUARD_FACTOR = 2.0
"""The guard lets a group shift its features by at most so many times the median of all groups."""


def inverse_norm(norms: Mapping[str, float]) -> dict[str, float]:
    """Strength by ``mean norm / norm`` of each group's change of the weights, within 0.30 to 1.50.

    A rule in use elsewhere; ``norms`` are Frobenius norms, root-sum-square over a group's layers.
    """
    known = [norm for norm in norms.values() if norm > 0]
    if not known:
        return dict.fromkeys(norms, 1.0)
    mean = math.fsum(known) / len(known)
    low, high = INVERSE_NORM_BOUNDS
    return {name: min(max(mean / norm, low), high) if norm > 0 else 1.0 for name, norm in norms.items()}


def activation_ratio(
    reference: Mapping[str, float], target: Mapping[str, float], low: float, high: float
) -> dict[str, float]:
    """Strength by how much more the LoRA shifts the features of a group on the reference than on the target.

    "Scale by feature statistics"; both hold relative shifts (:func:`added_shift`) by group.
    """
    found: dict[str, float] = {}
    for name, here in target.items():
        there = reference.get(name)
        known = there is not None and here > 0
        found[name] = min(max(there / here, low), high) if known and there is not None else 1.0
    return found


def guard(shifts: Mapping[str, float], factor: float = GUARD_FACTOR) -> dict[str, float]:
    """Strengths that keep each group's added shift within ``factor`` times the median; never above 1. A heuristic."""
    positive = [value for value in shifts.values() if value > 0]
    if not positive:
        return dict.fromkeys(shifts, 1.0)
    limit = factor * statistics.median(positive)
    return {name: min(1.0, limit / value) if value > 0 else 1.0 for name, value in shifts.items()}


def added_shift(shifts: Mapping[str, float]) -> dict[str, float]:
    """What each place adds to the shift that came in, ``sqrt(s^2 - s_before^2)``, for places in the model's order.

    Args:
        shifts: Relative shift by ``block|stream``; streams follow one another separately.
    """
    before: dict[str, float] = {}
    found: dict[str, float] = {}
    for name, value in shifts.items():
        stream = name.partition("|")[2]
        found[name] = math.sqrt(max(value**2 - before.get(stream, 0.0) ** 2, 0.0))
        before[stream] = value
    return found


def by_group(places: Mapping[str, float], groups: list[str]) -> dict[str, float]:
    """Figures of places (``block|stream``) gathered by group selector, root-mean-square where several meet."""
    found: dict[str, float] = {}
    for selector in groups:
        block, stream = _split(selector)
        matching = [
            value
            for name, value in places.items()
            if _same_block(name.partition("|")[0], block) and (not stream or name.partition("|")[2] == stream)
        ]
        if matching:
            found[selector] = math.sqrt(math.fsum(value**2 for value in matching) / len(matching))
    return found


def _split(selector: str) -> tuple[str, str]:
    """Block (or ``kind.*``) and stream of a selector; a layer's own name is dropped."""
    segments = selector.split(".")
    at = next((i for i, segment in enumerate(segments) if segment.isdigit() or segment == "*"), len(segments) - 1)
    rest = segments[at + 1 :]
    stream = rest[0].partition("_")[0] if rest else ""
    return ".".join(segments[: at + 1]), stream if stream in ("img", "txt") else ""


def _same_block(name: str, block: str) -> bool:
    return name.rpartition(".")[0] == block[:-2] if block.endswith(".*") else name == block
