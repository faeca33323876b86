"""The search against the exhaustive optimum, and what a sweep says of units with known effects."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from sweep_benches import made_bench


@pytest.fixture(scope="module")
def sweep() -> Any:
    from types import SimpleNamespace

    import pack
    from pack.nodes.core.sweep import bench, interactions, modes, search

    return SimpleNamespace(pack=pack, bench=bench, modes=modes, search=search, interactions=interactions)


def random_bench(sweep: Any, count: int, seed: int, joined: float = 0.0) -> tuple[Any, list[int]]:
    """Sizes over two orders of magnitude, and the order that a poor guess of them gives."""
    draw = random.Random(seed)
    sizes = [math.exp(draw.gauss(0, 1.5)) for _ in range(count)]
    pairs = {(i, j): joined * (sizes[i] * sizes[j]) ** 0.5 for i in range(count) for j in range(i)} if joined else None
    order = sorted(range(count), key=lambda unit: sizes[unit] * math.exp(draw.gauss(0, 0.7)))
    return made_bench(sweep.pack, sizes, pairs, seed), order


@pytest.mark.parametrize("count", [6, 7, 8])
@pytest.mark.parametrize("joined", [0.0, 0.3])
@pytest.mark.parametrize("distance", [0.1, 0.3])
def test_the_search_finds_the_smallest_set_in_a_third_of_the_runs(
    sweep: Any, count: int, joined: float, distance: float
) -> None:
    for seed in range(8):
        bench, order = random_bench(sweep, count, seed, joined)
        found = sweep.search.Search(bench, distance, order).run(2**count // 3)
        control, _ = random_bench(sweep, count, seed, joined)
        best = sweep.search.exhaustive(control, distance)
        assert bench.settings <= 2**count // 3
        assert len(found.dropped) == len(best), seed
        assert bench.is_known(found.dropped)
        assert bench.missed(found.dropped).mean <= distance


def test_many_units_cost_few_runs(sweep: Any) -> None:
    sizes = [5.0 if unit in (7, 21, 22) else 0.001 for unit in range(60)]
    order = sorted(range(60), key=lambda unit: (unit * 37) % 60)  # knows nothing
    bench = made_bench(sweep.pack, sizes)
    found = sweep.search.Search(bench, 0.1, order).run()
    assert set(range(60)) - found.dropped == {7, 21, 22}
    assert bench.settings < 60


def test_a_poor_order_costs_runs_not_the_result(sweep: Any) -> None:
    """The largest unit comes first; leaving it out alone would leave no room for the others."""
    sizes = [0.09, 0.05, 0.05, 0.05, 3.0, 3.0]
    bench = made_bench(sweep.pack, sizes, seed=3)
    found = sweep.search.Search(bench, 0.022, range(6)).run()
    assert found.dropped >= {1, 2} or len(found.dropped) >= 2
    control = made_bench(sweep.pack, sizes, seed=3)
    assert len(found.dropped) == len(sweep.search.exhaustive(control, 0.022))


@pytest.mark.parametrize("mode", ["knock-out", "solo", "search"])
def test_units_that_do_nothing_are_left_out_and_no_others(sweep: Any, mode: str) -> None:
    sizes = [2.0, 0.0, 0.0, 1.5, 0.0, 1.0]
    bench = made_bench(sweep.pack, sizes)
    swept = sweep.modes.run_mode(bench, mode, 0.1, range(6))
    assert swept.dropped == {1, 2, 4}
    assert not swept.stopped


def test_the_ranking_of_a_knock_out_is_that_of_the_effects(sweep: Any) -> None:
    bench = made_bench(sweep.pack, [0.5, 4.0, 1.0, 2.0], scenes=3)
    swept = sweep.modes.run_mode(bench, "knock-out", 0.1, range(4))
    missed = [bench.missed(swept.alone[unit]) for unit in range(4)]
    assert sorted(range(4), key=lambda unit: missed[unit].mean) == [0, 2, 3, 1]
    assert all(each.low < each.mean < each.high for each in missed)


def test_two_units_that_stand_in_for_each_other_are_found(sweep: Any) -> None:
    sizes = [3.0, 0.01, 0.01, 0.01, 0.01, 2.0, 0.01, 0.01]
    bench = made_bench(sweep.pack, sizes, either={(2, 6): 2.5})
    swept = sweep.modes.run_mode(bench, "knock-out", 0.1, range(8))
    (found,) = swept.interactions
    assert set(found.units) == {2, 6}
    assert found.together > 10 * max(found.singly)
    assert len({2, 6} - swept.dropped) == 1, "one of the two stays"


def test_changes_that_add_up_are_no_interaction(sweep: Any) -> None:
    bench = made_bench(sweep.pack, [3.0, 0.1, 0.1, 0.1, 0.1])
    assert sweep.modes.run_mode(bench, "knock-out", 0.2, range(5)).interactions == ()


def test_what_was_run_stands_when_the_time_is_up(sweep: Any) -> None:
    whole = made_bench(sweep.pack, [0.0, 1.0, 0.0, 2.0, 0.0])
    left = [5]

    def run(dropped: frozenset[int]) -> tuple[torch.Tensor, ...]:
        left[0] -= 1
        if left[0] < 0:
            raise sweep.bench.TimeSpent
        return whole.run(dropped)

    bench = sweep.bench.Bench(5, run)
    swept = sweep.modes.run_mode(bench, "knock-out", 0.1, range(5))
    assert swept.stopped
    assert sorted(swept.alone) == [0, 1, 2], "the whole LoRA and the plain model took two of five runs"


def test_a_lora_that_changes_nothing_is_said(sweep: Any) -> None:
    bench = made_bench(sweep.pack, [0.0, 0.0])
    with pytest.raises(sweep.pack.nodes.core.errors.PatchbayError, match="changes nothing here"):
        bench.spans()


def test_the_floor_is_that_of_two_runs(sweep: Any) -> None:
    bench = made_bench(sweep.pack, [1.0, 1.0])
    full, plain = bench.pictures(frozenset()), bench.pictures(frozenset({0, 1}))
    bench.measure_floor(tuple(a + 0.01 * (b - a) for a, b in zip(full, plain, strict=True)))
    assert bench.floor == pytest.approx(0.01, rel=1e-3)


def test_the_longest_prefix_from_any_guess(sweep: Any) -> None:
    sizes = [0.01, 0.02, 0.03, 0.04, 3.0, 4.0]
    for guess in range(7):
        bench = made_bench(sweep.pack, sizes)
        assert sweep.modes.longest_prefix(bench, range(6), 0.1, max(1, guess)) == {0, 1, 2, 3}, guess
