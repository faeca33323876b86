"""Which selectors name which layers, and texts that leave units out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(scope="module")
def units() -> Any:
    from pack.nodes.core.errors import BlockStrengthError, PatchbayError
    from pack.nodes.core.model.blocks import BlockLayout
    from pack.nodes.core.strengths import groups, text
    from pack.nodes.core.sweep import rank, units

    return SimpleNamespace(
        units=units, groups=groups, text=text, rank=rank, layout=BlockLayout, error=PatchbayError,
        strength_error=BlockStrengthError,
    )  # fmt: skip


KEYS = [
    *(
        f"double_blocks.{i}.{s}_{part}.weight"
        for i in range(3)
        for s in ("img", "txt")
        for part in ("attn.qkv", "mlp.0")
    ),
    *(f"single_blocks.{i}.linear{n}.weight" for i in range(4) for n in (1, 2)),
    "img_in.weight",
]


@pytest.mark.parametrize(
    ("grouping", "key", "expected"),
    [
        ("block", "double_blocks.1.img_attn.qkv.weight", ("double_blocks.1",)),
        ("block and stream", "double_blocks.1.txt_mlp.0.weight", ("double_blocks.1.txt",)),
        ("block and stream", "single_blocks.2.linear1.weight", ("single_blocks.2",)),
        ("block and part", "double_blocks.1.txt_mlp.0.weight", ("double_blocks.1.mlp",)),
        ("block and part", "single_blocks.2.linear1.weight", ("single_blocks.2.attn", "single_blocks.2.mlp")),
        ("kind of block", "single_blocks.2.linear1.weight", ("single_blocks.*",)),
        ("block and part", "img_in.weight", ("other",)),
    ],
)
def test_selectors_of_a_layer(units: Any, grouping: str, key: str, expected: tuple[str, ...]) -> None:
    layout = units.layout(KEYS)
    slices = ("q", "attn", "mlp") if "linear1" in key else ()
    assert units.groups.selectors_of(layout.place(key), grouping, slices) == expected


def test_neighbours_are_written_as_a_range(units: Any) -> None:
    every = [units.units.Unit(f"b.{i}", (f"double_blocks.{i}",)) for i in range(4)]
    every += [units.units.Unit("s.1", ("single_blocks.1.img",)), units.units.Unit("rest", ("other",))]
    found = units.units.strengths_without(every, {0, 1, 3, 4, 5})
    assert found == "double_blocks.0-1=0, double_blocks.3=0, single_blocks.1.img=0, other=0"
    assert str(units.text.parse_block_strengths(found)) == found
    assert units.units.strengths_without(every, ()) == ""


def test_tags_tell_units_apart_and_survive_the_text(units: Any) -> None:
    every = [units.units.Unit(f"b{i}", (f"double_blocks.{i}", f"single_blocks.{i}.img")) for i in range(300)]
    text, tags = units.units.tagged(every)
    values = [item.value for item in units.text.parse_block_strengths(text).items]
    assert [tags[value] for value in values] == [i for i in range(300) for _ in range(2)]


def test_own_groups(units: Any) -> None:
    first, second = units.units.own_groups("early: double_blocks.0-2, single_blocks.0-50%;\n# no; no\n\nother # rest")
    assert (first.name, first.selectors) == ("early", ("double_blocks.0-2", "single_blocks.0-50%"))
    assert (second.name, second.selectors) == ("other", ("other",))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "got 0"), ("other", "got 1"), ("a=1; b", "group 1"), ("other; x:", "group 2")],
)  # fmt: skip
def test_own_groups_that_are_none(units: Any, text: str, message: str) -> None:
    with pytest.raises(units.error, match=message):
        units.units.own_groups(text)


def test_rank_correlation(units: Any) -> None:
    rho = units.rank.rank_correlation
    assert rho([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert rho([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rho([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)
    assert rho([1, 1], [1, 2]) is None
    assert rho([1], [1]) is None


def test_a_setting_is_named_by_what_is_shorter(units: Any) -> None:
    every = [units.units.Unit(name, (name,)) for name in "abcdefghi"]
    words = {
        tuple(dropped): units.units.setting_words(every, set(dropped))
        for dropped in ([], [1], range(5), range(9), range(8))
    }
    assert words == {
        (): "the whole LoRA",
        (1,): "without b",
        tuple(range(5)): "only f, g, h and 1 more",
        tuple(range(8)): "only i",
        tuple(range(9)): "without the LoRA",
    }
    assert units.units.setting_words(every, {0, 1, 2, 3}) == "without a, b, c and 1 more"
