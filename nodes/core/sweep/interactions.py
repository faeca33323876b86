"""Units that only matter together: each can be left out, but not all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .bench import Bench, Dropped, gram, predicted

LEAST_EXCESS = 0.05
"""A set is worth a word where leaving it out misses so much more of the LoRA's effect than its units' changes add up
to."""


@dataclass(frozen=True)
class Interaction:
    """A set of units whose changes do not add up."""

    units: tuple[int, ...]
    together: float
    """The share of the LoRA's effect that is missed without all of them."""
    added: float
    """What it would be if the changes of the single units added up."""
    singly: tuple[float, ...]
    """The share that is missed without each one alone."""


def find_interaction(bench: Bench, units: Sequence[int]) -> Interaction | None:
    """The smallest set among ``units`` whose effect is more than the sum, if all of them together have one.

    One run tells whether there is any; then parts of the set are left away as long as the excess stays (delta
    debugging, Zeller and Hildebrandt 2002), about ``2 log2(n)`` runs for a pair.

    Args:
        units: Units of which each was run alone.

    Raises:
        TimeSpent: the time is up.
    """
    chosen = tuple(units)
    if len(chosen) < 2 or not _exceeds(bench, chosen):
        return None
    parts = 2
    while len(chosen) > 2:
        size = -(-len(chosen) // parts)
        chunks = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        rest = [tuple(u for u in chosen if u not in chunk) for chunk in chunks]
        smaller = next((s for s in (*chunks, *rest) if 1 < len(s) < len(chosen) and _exceeds(bench, s)), None)
        if smaller is not None:
            chosen, parts = smaller, 2
        elif parts < len(chosen):
            parts = min(len(chosen), parts * 2)
        else:
            break
    singly = tuple(bench.missed(frozenset({unit})).mean for unit in chosen)
    return Interaction(chosen, bench.missed(frozenset(chosen)).mean, sum_of_changes(bench, chosen), singly)


def _exceeds(bench: Bench, units: Sequence[int]) -> bool:
    excess = bench.missed(frozenset(units)).mean - sum_of_changes(bench, units)
    return excess > max(LEAST_EXCESS, 2 * bench.floor)


def sum_of_changes(bench: Bench, units: Sequence[int]) -> float:
    """What leaving the units out would miss if their single changes added up; each has to be run alone."""
    changes = [bench.changes(_one(unit)) for unit in units]
    return predicted(gram(changes), range(len(changes)))


def _one(unit: int) -> Dropped:
    return frozenset({unit})
