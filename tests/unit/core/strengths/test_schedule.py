"""The text form of a schedule, and the courses of strength that it means."""

from __future__ import annotations

import pytest
from pack.nodes.core.errors import BlockStrengthError
from pack.nodes.core.strengths.schedule import PERCENT, STEP, check_window, describe_curve, parse_schedule


def test_moments_by_percent_and_by_step() -> None:
    schedule = parse_schedule("0%: all=1, te=0 # start\n 12.5 % :double_blocks.*=0;50%:\n99%: all=0")
    assert schedule.unit == PERCENT
    assert [(m.position, m.blocks) for m in schedule.moments] == [
        (0.0, "all=1, te=0"), (0.125, "double_blocks.*=0"), (0.5, ""), (0.99, "all=0"),
    ]  # fmt: skip
    steps = parse_schedule("step 0: all=0; Step 2: all=1")
    assert (steps.unit, [m.position for m in steps.moments]) == (STEP, [0.0, 2.0])


def test_lines_without_a_position_belong_to_the_moment_before() -> None:
    schedule = parse_schedule("0%: all=0.5\nsingle_blocks.*=0,\n\n50%:\nall=1")
    assert [m.blocks for m in schedule.moments] == ["all=0.5,single_blocks.*=0,", "all=1"]


def test_empty_is_one_moment() -> None:
    for text in ("", "\n # only a comment\n"):
        assert [(m.position, m.blocks) for m in parse_schedule(text).moments] == [(0.0, "")]


def test_items_of_a_moment_come_after_the_base() -> None:
    schedule = parse_schedule("0%: all=1; 50%: double_blocks.0=0")
    assert schedule.texts("all=0.5 # half\nother=0,") == ["all=0.5,other=0,all=1", "all=0.5,other=0,double_blocks.0=0"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("all=1; 50%: all=0", "has no position before it"),
        ("10%: all=1", "the first position must be 0%"),
        ("step 1: all=1", "the first position must be step 0"),
        ("0%: all=1; step 2: all=0", "cannot be mixed"),
        ("0%: all=1; 50%: all=0; 50%: all=1", "must lie behind"),
        ("0%: all=1; 100%: all=0", "100% is the end"),
        ("0%: all", 'expected a block, "=" and a number'),
    ],
)
def test_what_makes_no_sense_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(BlockStrengthError, match=reason):
        parse_schedule(text)


def test_jumps_hold_until_the_next_moment() -> None:
    schedule = parse_schedule("0%: all=1; 50%: all=1; 75%: all=0")
    assert schedule.curve([1, 1, 0], linear=False) == ((0.0, 1.0), (0.75, 0.0))
    assert schedule.curve([0.5, 0.5, 0.5], linear=True) == ((0.0, 0.5),)


def test_linear_by_steps_meets_every_step() -> None:
    schedule = parse_schedule("step 0: all=0; step 4: all=1; step 6: all=1")
    assert schedule.curve([0, 1, 1], linear=True) == ((0.0, 0.0), (1.0, 0.25), (2.0, 0.5), (3.0, 0.75), (4.0, 1.0))


def test_linear_by_percent_goes_in_hundredths() -> None:
    schedule = parse_schedule("0%: all=0; 50%: all=1")
    curve = schedule.curve([0, 1], linear=True)
    assert len(curve) == 51
    for position, value in curve:
        assert value == pytest.approx(min(1.0, position * 2))


def test_a_window_is_zero_outside() -> None:
    schedule = parse_schedule("0%: all=1; 50%: all=0.5")
    assert schedule.curve([1, 0.5], False, 0.25, 0.75) == ((0.0, 0.0), (0.25, 1.0), (0.5, 0.5), (0.75, 0.0))
    assert schedule.curve([1, 0.5], False, 0.6, 1.0) == ((0.0, 0.0), (0.6, 0.5))
    assert schedule.curve([1, 0.5], False, 0.0, 0.4) == ((0.0, 1.0), (0.4, 0.0))


def test_a_window_that_means_nothing_is_an_error() -> None:
    with pytest.raises(BlockStrengthError, match="expected 0 <= start < end"):
        check_window(parse_schedule(""), 0.5, 0.5)
    with pytest.raises(BlockStrengthError, match="the schedule by steps"):
        check_window(parse_schedule("step 0: all=1"), 0.0, 0.5)
    check_window(parse_schedule("step 0: all=1"), 0.0, 1.0)


def test_a_course_in_words() -> None:
    assert describe_curve(((0.0, 1.0), (0.5, 0.25)), PERCENT) == "0%: 1, 50%: 0.25"
    assert describe_curve(tuple((float(i), i / 10) for i in range(10)), STEP).count("more") == 1
