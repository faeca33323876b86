"""Where cells stand, in which order they are made, and with what each is compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack.nodes.core.grid.axes import Axis, AxisValue, GridError
from pack.nodes.core.grid.plan import content_key, plan_grid, read_reference


def axis(name: str, *values: str | float, kept: bool = False) -> Axis:
    return Axis(name, tuple(AxisValue(value, str(value)) for value in values), kept)


AXES = (axis("lora", "e1", "e2", "e3"), axis("strength", 0.5, 1.0), axis("blocks", ""), axis("seed", 7, 8, kept=True))


def test_two_axes_make_a_sheet_and_the_rest_are_pages():
    plan = plan_grid(AXES)
    assert (plan.rows, plan.columns) == (0, 1)
    first, second = plan.pages
    assert (first.title, second.title) == ("seed 7", "seed 8")
    assert first.rows == ("lora e1", "e2", "e3")
    assert first.columns == ("strength 0.5", "1.0")
    assert second.cells[2][1] == (2, 1, 0, 1)


def test_every_cell_stands_on_exactly_one_page():
    for rows, columns in (("auto", "auto"), ("seed", "lora"), ("auto", "blocks"), ("strength", "auto")):
        plan = plan_grid(AXES, rows, columns)
        placed = [index for page in plan.pages for row in page.cells for index in row]
        assert sorted(placed) == sorted(plan.cells)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_that_holds_for_any_axes(sizes):
    plan = plan_grid([axis(f"a{n}", *range(size)) for n, size in enumerate(sizes)])
    placed = [index for page in plan.pages for row in page.cells for index in row]
    assert sorted(placed) == sorted(plan.cells)


def test_one_axis_runs_across_and_the_last_changes_first():
    plan = plan_grid([axis("lora", "a"), axis("strength", 1.0, 2.0)])
    assert (plan.rows, plan.columns) == (None, 1)
    assert plan_grid(AXES).cells[:3] == ((0, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0))
    assert plan.label((0, 1)) == "strength 2.0"
    assert plan.settings((0, 1)) == {"lora": "a", "strength": 2.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "nothing to make"),
        ((AXES, "colour"), 'rows: there is no axis "colour"'),
        ((AXES, "lora", "lora"), "two different axes"),
        (([axis("a", *range(50)), axis("b", *range(50))],), "2500 pictures"),
    ],
)
def test_what_makes_no_grid_is_said(arguments, message):
    with pytest.raises(GridError, match=message):
        plan_grid(*arguments)


def test_a_reference_keeps_the_seed_and_takes_the_first_of_the_rest():
    plan = plan_grid(AXES)
    assert read_reference("strength=1, lora=e3", AXES).of(plan, (0, 0, 0, 1)) == (2, 1, 0, 1)
    assert read_reference("strength = 1.0", AXES).of(plan, (2, 0, 0, 1)) == (0, 1, 0, 1)
    assert read_reference("Seed=7", AXES).of(plan, (2, 1, 0, 1)) == (0, 0, 0, 0)
    assert read_reference("first", AXES).of(plan, (2, 1, 0, 1)) == (0, 0, 0, 1)
    seeds = (axis("lora", "a"), axis("seed", 7, 8, kept=True))
    assert read_reference("first", seeds).of(plan_grid(seeds), (0, 1)) == (0, 0)


def test_a_reference_may_have_commas_and_equal_signs_in_its_value():
    axes = (axis("blocks", "double=0, single=1", ""), axis("lora", "a, b"))
    plan = plan_grid(axes)
    assert read_reference("lora=a, b, blocks=double=0, single=1", axes).of(plan, (1, 0)) == (0, 0)


@pytest.mark.parametrize("text", ["", "strength", "strength=3", "colour=1", "x, strength=1", "lora="])
def test_a_reference_that_is_no_cell_is_named(text):
    with pytest.raises(GridError, match="reference"):
        read_reference(text, AXES)


def test_a_key_is_of_the_content_alone():
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
