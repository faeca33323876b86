"""Block maps: text, composition, inverse, and what is refused."""

from __future__ import annotations

import random

import pytest
from pack.nodes.core.errors import BlockMapError
from pack.nodes.core.model.block_map import (
    BlockMap,
    checked_map,
    compose,
    format_block_map,
    inserted_map,
    invert,
    parse_block_map,
)
from pack.nodes.core.model.family import Inserted

ANIMA = Inserted("blocks", 28, 40, (2, 5, 8, 11, 14, 17, 21, 24, 27, 30, 33, 36))


def some_map(seed: int) -> BlockMap:
    choose = random.Random(seed)
    old = sorted(choose.sample(range(60), choose.randint(1, 30)))
    new = sorted(choose.sample(range(90), len(old)))
    pairs = {a: (None if choose.random() < 0.2 else b) for a, b in zip(old, new, strict=True)}
    return checked_map({choose.choice(["blocks", "double_blocks", "a.b"]): pairs, "single_blocks": {0: 0, 1: 5}})


@pytest.mark.parametrize("seed", range(20))
def test_a_map_survives_its_text(seed: int) -> None:
    assert parse_block_map(format_block_map(some_map(seed))) == some_map(seed)


def test_text_may_have_ranges_comments_and_lines() -> None:
    text = "blocks: 0-1->0-1, 2->3 # moved\n3-4 -> -\nsingle_blocks: 0->0"
    assert format_block_map(parse_block_map(text)) == "blocks: 0->0, 1->1, 2->3, 3->-, 4->-; single_blocks: 0->0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got nothing"),
        ("blocks: 1", "is no pair"),
        ("blocks: 1->1, 1->2", "left side twice"),
        ("blocks: 0->1, 1->0", "keeps the order"),
        ("blocks: 0->1, 1->1", "keeps the order"),
        ("blocks: 0-2->0-3", "ranges of one length"),
        ("blocks: 3-1->3-1", "ranges of one length"),
        ("x" * 30_000, "characters"),
    ],
)
def test_what_is_no_map_is_refused(text: str, said: str) -> None:
    with pytest.raises(BlockMapError, match=said):
        parse_block_map(text)


def test_the_published_map_of_anima_has_its_published_points() -> None:
    pairs = inserted_map(ANIMA).of("blocks")
    assert {0: 0, 1: 1, 2: 3, 14: 20, 27: 39}.items() <= pairs.items()
    assert set(pairs.values()) == set(range(40)) - set(ANIMA.inserted)
    old = [i + sum(1 for x in ANIMA.inserted if x <= pairs[i]) for i in range(28)]  # type: ignore[operator]
    assert old == list(pairs.values())  # one more for every inserted number that is not above


def test_unpublished_insertions_are_refused() -> None:
    with pytest.raises(BlockMapError, match="not published"):
        inserted_map(Inserted("blocks", 40, 52))
    with pytest.raises(BlockMapError, match="are not 41"):
        inserted_map(Inserted("blocks", 40, 41, (1, 2)))


def test_there_and_back_is_the_identity() -> None:
    there = inserted_map(ANIMA)
    back = invert(there, {"blocks": 40})
    assert not compose(there, back).moves
    assert [new for new, old in back.of("blocks").items() if old is None] == list(ANIMA.inserted)
    assert invert(back, {"blocks": 28}).of("blocks") == there.of("blocks")


def test_composition_says_what_it_cannot_know() -> None:
    with pytest.raises(BlockMapError, match="does not say where blocks.39 goes"):
        compose(inserted_map(ANIMA), parse_block_map("blocks: 0-38->0-38"))
