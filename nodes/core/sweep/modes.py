"""The three ways to sweep: one unit left out, one unit alone, and the search for the fewest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .bench import Bench, Dropped, TimeSpent, gram, predicted
from .interactions import Interaction, find_interaction
from .search import Search

KNOCK_OUT, SOLO, SEARCH = "knock-out", "solo", "search"
MODES = (KNOCK_OUT, SOLO, SEARCH)


@dataclass
class Swept:
    """What a sweep has run, and what it would leave out."""

    mode: str
    dropped: Dropped = frozenset()
    """The units that may be left out; this very set was run and is near enough."""
    bundles: tuple[Dropped, ...] = ()
    """Units that were only left out together."""
    interactions: tuple[Interaction, ...] = ()
    stopped: bool = False
    """Whether the time was spent first."""
    alone: dict[int, Dropped] = field(default_factory=dict[int, Dropped])
    """By unit: the setting that says most of it alone, against ``before``."""
    before: dict[int, Dropped] = field(default_factory=dict[int, Dropped])
    bundle_before: dict[Dropped, Dropped] = field(default_factory=dict[Dropped, Dropped])


def run_mode(bench: Bench, mode: str, distance: float, order: Sequence[int]) -> Swept:
    """Sweep.

    Args:
        distance: What may be missed of the LoRA's effect, in the mean over the scenes.
        order: All units, the least important as far as is known first.
    """
    bench.spans()  # the whole LoRA and the plain model, without which no run says anything
    if mode == SEARCH:
        return _search(bench, distance, order)
    swept = Swept(mode)
    single = [frozenset({unit}) if mode == KNOCK_OUT else bench.everything - {unit} for unit in range(bench.count)]
    try:
        bench.prepare(single)
        for unit, setting in enumerate(single):
            bench.pictures(setting)
            swept.alone[unit] = setting
            swept.before[unit] = frozenset() if mode == KNOCK_OUT else bench.everything
        if mode == KNOCK_OUT:
            ranked = sorted(swept.alone, key=lambda unit: bench.missed(swept.alone[unit]).mean)
            _interact(bench, swept, ranked, distance)
        else:
            ranked = sorted(swept.alone, key=lambda unit: bench.toward(swept.alone[unit]).mean)
        swept.dropped = longest_prefix(bench, ranked, distance, _guess(bench, swept, ranked, distance))
    except TimeSpent:
        swept.stopped = True
    return swept


def _interact(bench: Bench, swept: Swept, ranked: Sequence[int], distance: float) -> None:
    """Look for units that are small alone and large together."""
    quiet = [unit for unit in ranked if bench.missed(frozenset({unit})).mean <= distance]
    found = find_interaction(bench, quiet) if len(quiet) < bench.count else None
    swept.interactions = () if found is None else (found,)


def _guess(bench: Bench, swept: Swept, ranked: Sequence[int], distance: float) -> int:
    """How many of the first units may be left out if their changes add up."""
    if swept.mode == SOLO:
        return len(ranked) // 2
    products = gram([bench.changes(frozenset({unit})) for unit in ranked])
    fitting = [n for n in range(len(ranked) + 1) if predicted(products, range(n)) <= distance]
    return min(max(fitting), bench.count - 1)


def longest_prefix(bench: Bench, ranked: Sequence[int], distance: float, guess: int) -> Dropped:
    """The most units from the beginning of ``ranked`` that may be left out; about two runs beside the guess.

    Only a set that was run and is near enough is returned. From the guess on it goes up or down in doubling steps, and
    then halves what is between: the distance is taken to grow with the set.
    """
    low, high = 0, len(ranked)  # low fits; high does not: it is the plain model, or as good as that
    if len(ranked) < bench.count:
        high += 1

    def fits(number: int) -> bool:
        return bench.missed(frozenset(ranked[:number])).mean <= distance

    at, step = min(max(guess, low), high - 1), 1
    while low < at < high:
        if fits(at):
            low, at = at, at + step
        else:
            high, at = at, at - step
        step *= 2
        if not low < at < high:
            at = (low + high) // 2
    return frozenset(ranked[:low])


def _search(bench: Bench, distance: float, order: Sequence[int]) -> Swept:
    search = Search(bench, distance, order)
    # Below 2 ** 12 sets a third of them is the limit; above, the search stays far below it by itself.
    found = search.run(max(2 ** len(order) // 3, len(order)) if len(order) <= 12 else None)
    swept = Swept(SEARCH, found.dropped, found.bundles, (), found.stopped)
    for units, (setting, before) in search.changes.items():
        if len(units) == 1:
            (unit,) = units
            swept.alone[unit], swept.before[unit] = setting, before
        else:
            swept.bundle_before[units] = before
    return swept
