"""The plan for a hub: more workers take less time until something else is what all wait for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from hub_plan import CHUNK, Inputs, simulate, table


def test_ten_workers_take_a_tenth_of_the_time() -> None:
    inputs = Inputs(files=48_000)
    one, ten = (simulate(inputs, workers) for workers in (1, 10))
    assert one.hours / ten.hours == pytest.approx(10, rel=0.05)
    assert (one.limit, ten.limit) == ("the workers", "the workers")
    assert one.requests == 48_000 + 48


def test_the_limit_is_named_and_no_number_of_workers_goes_below_it() -> None:
    hub = simulate(Inputs(files=48_000, limit_a_second=100.0), 100)
    assert hub.limit == "the hub's limit"
    assert hub.hours * 3600 == pytest.approx(480, rel=0.05)
    slow = simulate(Inputs(files=48_000, ms_a_task=500.0), 100)
    assert slow.limit == "the scheduler"
    assert slow.hours * 3600 == pytest.approx(48_000 / CHUNK * 0.5, rel=0.05)


def test_tasks_of_workers_that_die_are_done_again() -> None:
    dying = simulate(Inputs(files=48_000, hours_to_death=0.05), 10)
    assert dying.redone > 0
    assert dying.requests == 48_000 + 48 + dying.redone * CHUNK


def test_the_same_seed_is_the_same_plan() -> None:
    inputs = Inputs(files=16_000)
    assert simulate(inputs, 3, 1) == simulate(inputs, 3, 1) != simulate(inputs, 3, 2)
    assert table([simulate(inputs, 3)]).count("\n") == 2
