"""The fewest units that keep the picture: halving first, then better sets that the runs so far suggest.

*Halving.* Units are left out from the ones that the weights say little of to those that they say much of, all at once
if the picture allows, else the first half and the second half, and so on (adaptive group testing): units that matter
cost about ``2 log2(n)`` runs each, those that do not cost nearly none.

*Suggestions.* What each run changed is a vector. If the changes of units added up exactly, the distance of every set
could be computed without a run; they nearly do. The largest sets that this predicts to be near enough are run, the
most promising first, and only what was run counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .bench import Bench, Dropped, TimeSpent, gram, predicted, rms

MOST_ENUMERATED = 14
"""Items of which all subsets are looked at (on paper); beyond it, the cheapest are added one by one."""
MOST_CHAINS = 8
WORTH_OPENING = 0.25
"""Units that were left out together are run singly where together they take this share of the distance."""
DOUBTFUL = 1.25
"""A set is still tried where the prediction exceeds the distance by this factor: it is often too high."""


@dataclass(frozen=True)
class Found:
    """The result of a search."""

    dropped: Dropped
    bundles: tuple[Dropped, ...]
    """Units that were left out together, without a run of each."""
    stopped: bool
    """Whether the time was spent before the search had ended."""


class Search:
    """One search on one bench."""

    def __init__(self, bench: Bench, distance: float, order: Sequence[int]) -> None:
        """
        Args:
            distance: The mean distance from the whole LoRA's pictures that is allowed.
            order: All units, the least important (as far as anybody knows) first.
        """
        self._bench, self._distance, self._order = bench, distance, tuple(order)
        self._dropped: Dropped = frozenset()
        self._bundles: list[Dropped] = []
        self.changes: dict[Dropped, tuple[Dropped, Dropped]] = {}
        """What is known of a set by itself: the settings with and without it."""

    def run(self, most_runs: int | None = None) -> Found:
        """Search; ``most_runs`` bounds the settings of the second stage (the first needs what it needs)."""
        stopped = False
        try:
            self._halve(list(self._order))
            self._suggest(2 * len(self._order) if most_runs is None else most_runs - self._bench.settings)
        except TimeSpent:
            stopped = True
        return Found(self._dropped, tuple(b for b in self._bundles if b <= self._dropped), stopped)

    def _fits(self, dropped: Dropped) -> bool:
        return self._bench.missed(dropped).mean <= self._distance

    def _halve(self, chunk: list[int]) -> None:
        """Leave out as much of ``chunk`` as the picture allows, on top of what is left out already."""
        before, chosen = self._dropped, frozenset(chunk)
        if self._fits(before | chosen):
            self._dropped = before | chosen
            self._note(chosen, before)
            if len(chunk) > 1:
                self._bundles.append(chosen)
            return
        if len(chunk) == 1:
            self._note(chosen, before)
            return
        half = (len(chunk) + 1) // 2
        self._halve(chunk[:half])
        self._halve(chunk[half:])

    def _note(self, units: Dropped, before: Dropped) -> None:
        self.changes.setdefault(units, (before | units, before))

    def _suggest(self, runs: int) -> None:
        """Run the most promising sets that leave out more, until none is left or ``runs`` are spent."""
        last = self._bench.settings + runs
        if self._open_bundles(last):
            for better in self._better_sets():
                if len(better) > len(self._dropped):
                    if self._bench.settings >= last and not self._bench.is_known(better):
                        return
                    if self._fits(better):
                        self._dropped = better

    def _open_bundles(self, last: int) -> bool:
        """Run the units of the bundles singly where that is allowed; False where nothing can be won any more."""
        kept = len(self._order) - len(self._dropped)
        if kept <= 1:
            return False
        for bundle in sorted(self._bundles, key=len):
            # Taking back what changes next to nothing makes no room for anything else.
            setting, before = self.changes[bundle]
            effect = max(rms(change) for change in self._bench.changes(setting, before))
            if effect >= WORTH_OPENING * self._distance and self._bench.settings + len(bundle) < last - 2:
                del self.changes[bundle]
                self._bundles.remove(bundle)
                self._bench.prepare(frozenset({unit}) for unit in sorted(bundle))
                for unit in sorted(bundle):
                    self._bench.pictures(frozenset({unit}))
                    self._note(frozenset({unit}), frozenset())
        return True

    def _better_sets(self) -> Iterator[Dropped]:
        """Sets that leave out more units than now and may fit: the most units first, then the least predicted."""
        items = [units for units in self.changes if units]
        products = gram([self._bench.changes(*self.changes[units]) for units in items])
        limit = self._distance * DOUBTFUL
        sizes = [len(units) for units in items]
        found: list[tuple[int, float, tuple[int, ...]]] = []
        least = len(self._dropped)
        for chosen in _subsets(len(items), products):
            count = sum(sizes[i] for i in chosen)
            if least < count < len(self._order):
                guess = predicted(products, chosen)
                if guess <= limit:
                    found.append((-count, guess, chosen))
        # A larger set that fits makes every smaller one needless, but a far guess costs a run: likely ones first.
        found.sort(key=lambda entry: (entry[1] > self._distance, entry[0], entry[1]))
        for _, _, chosen in found:
            yield frozenset().union(*(items[i] for i in chosen))


def _subsets(count: int, products: Tensor) -> Iterator[tuple[int, ...]]:
    """All subsets of few items; of many, the chains that grow by the item that adds least, from several beginnings."""
    if count <= MOST_ENUMERATED:
        for size in range(count, 0, -1):
            yield from itertools.combinations(range(count), size)
        return
    own = products.diagonal(dim1=1, dim2=2)
    for first in own.mean(dim=0).argsort()[:MOST_CHAINS].tolist():
        chosen, rows = [first], products[:, first].clone()
        left = torch.ones(count, dtype=torch.bool)
        left[first] = False
        while bool(left.any()):
            added = (own + 2 * rows).mean(dim=0).masked_fill(~left, float("inf"))
            best = int(added.argmin())
            chosen.append(best)
            left[best] = False
            rows += products[:, best]
            yield tuple(chosen)


def exhaustive(bench: Bench, distance: float) -> Dropped:
    """The largest set that may be left out, by running every set: the control of :class:`Search` for few units."""
    units = range(bench.count)
    for size in range(bench.count, 0, -1):
        fitting = [
            (bench.missed(chosen).mean, sorted(chosen))
            for chosen in map(frozenset, itertools.combinations(units, size))
            if chosen != bench.everything and bench.missed(chosen).mean <= distance
        ]
        if fitting:
            return frozenset(min(fitting)[1])
    return frozenset()
