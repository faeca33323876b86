"""Levels of walks, the mixture of two teachers, the learning rate, and when a taught LoRA counts as better."""

from __future__ import annotations

import pytest
from pack.nodes.core.transfer.teaching import (
    OTHER_PICTURE,
    SAME_PICTURE,
    Held,
    fractions,
    full_share,
    full_shares,
    held_out,
    is_better,
    largest_rate,
    learning_rate,
    own_picture_share,
    walks,
)


@pytest.mark.parametrize("levels", [1, 4, 8, 9, 20, 50])
def test_walks_together_stop_at_every_level_and_each_begins_at_the_first(levels: int) -> None:
    found = walks(levels)
    assert set().union(*found) == set(range(levels))
    assert all(walk[0] == 0 and list(walk) == sorted(set(walk)) and len(walk) <= 9 for walk in found)


def test_the_full_teacher_takes_over_where_the_models_part() -> None:
    assert full_share(0.1, 0.1) == 0
    assert full_share(0.2, 0.1) == 0
    assert full_share(0.1, 0.0) == 0
    assert full_share(0.1, 0.2) == pytest.approx(0.75)
    assert full_share(0.0, 0.1) == 1
    assert full_shares({0: 0.1}, {0: 0.1, 3: 0.2}) == {0: 0.0, 3: pytest.approx(0.75)}


def test_two_models_that_draw_two_pictures_are_told_by_what_another_prompt_makes() -> None:
    """Squared distances in units of the spread between prompts; without a second prompt nothing can be told."""
    middle = (SAME_PICTURE + OTHER_PICTURE) / 2
    assert own_picture_share(SAME_PICTURE / 2, 1.0) == own_picture_share(SAME_PICTURE, 1.0) == 0
    assert own_picture_share(2 * middle, 2.0) == pytest.approx(0.5)
    assert own_picture_share(OTHER_PICTURE, 1.0) == own_picture_share(7.0, 1.0) == 1
    assert own_picture_share(1.0, 0.0) == 0


def test_the_rate_warms_up_and_ends_near_zero() -> None:
    rates = [learning_rate(step, 100, 2.0) for step in range(100)]
    assert max(rates) == pytest.approx(2.0)
    assert rates[0] < rates[2]
    assert rates[-1] < 0.01
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert largest_rate(512, True) == pytest.approx(largest_rate(128, True) / 2)
    assert largest_rate(128, False) < largest_rate(128, True)


@pytest.mark.parametrize("count", [2, 3, 4, 8, 96, 1000])
def test_something_is_held_out_and_most_is_not(count: int) -> None:
    found = held_out(count)
    assert 1 <= len(found) <= 12
    assert len(found) <= count / 2
    assert max(found) < count
    assert held_out(1) == ()


def test_a_step_is_cut_evenly() -> None:
    assert fractions(1) == (0.0,)
    assert fractions(4) == (0.0, 0.25, 0.5, 0.75)


def test_better_is_only_what_is_better_for_certain_than_every_other() -> None:
    taught, plain = Held("taught", (0.1, 0.12, 0.11)), Held("plain", (0.5, 0.55, 0.6))
    remapped = Held("remapped", (0.1, 0.13, 0.10))
    assert is_better(taught, [plain])
    assert not is_better(taught, [plain, remapped])
    assert not is_better(plain, [taught])
    assert not is_better(Held("taught", (0.1,)), [Held("plain", (0.5,))])
    assert Held("x", (0.25, 0.25)).error == 0.5
