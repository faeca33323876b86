"""What a pattern begins with is no more than that: it never says that a pattern cannot occur where it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pack.nodes.core.lora.file_kinds import _KINDS
from pack.nodes.core.model.facts import collect_facts
from pack.nodes.core.model.families import FAMILIES
from pack.nodes.core.model.literals import beginnings, may_occur


@pytest.mark.parametrize(
    ("pattern", "begun"),
    [
        ("^blocks_#_attn", ("\nblocks_#_attn",)),
        ("blocks?_x", ("block",)),
        ("x?_y", ()),
        (r"^img_in|processor\.[qkv]", ("\nimg_in", "processor.")),
        ("^(?:double|single)_blocks", ("\ndouble", "\nsingle")),
        ("^(?:double)?_blocks", ()),
        ("^(?:a[|)]b|(?:c|d)e)_x|^f", ("\na", "\nc", "\nd", "\nf")),
        (r"^(?:adapter\.)?body", ()),
        ("^.*attn", ()),
        ("^[qk]_proj", ()),
        (r"^\d+_x", ()),
        ("(?i)name", ()),
        ("a{2}b", ()),
        ("ab+c", ("ab",)),
        ("^$", ()),
        ("", ()),
    ],
)
def test_beginnings(pattern: str, begun: tuple[str, ...]) -> None:
    assert beginnings(pattern) == begun


def _patterns() -> Iterator[str]:
    """Every pattern that the families' rules ask for, and those of the kinds of files."""

    class Asked(dict[str, str]):
        def __contains__(self, key: object) -> bool:
            seen.add(str(key))
            return super().__contains__(key)

    seen: set[str] = set()
    facts = collect_facts([("x_#", 1, 1)], whole=False)
    object.__setattr__(facts, "_found", Asked())
    object.__setattr__(facts, "names", _noting(seen))
    for family in FAMILIES:
        for rule in (*family.marks, *family.hints, *family.against):
            rule(facts)
        seen.update(pattern for pattern, _ in family.hidden)
    yield from sorted(seen)
    yield from (pattern for _, patterns in _KINDS for pattern in patterns)


def _noting(seen: set[str]) -> Any:
    def names(pattern: str) -> list[str]:
        seen.add(pattern)
        return []

    return names


def test_no_rule_of_a_family_is_missed() -> None:
    names = [name.replace(".", "_") for family in FAMILIES for name in family.layer_names()]
    names += [name.replace(".", "_") for family in FAMILIES for link in family.links for name in link.file]
    names = sorted(set(names))
    count = occurring = 0
    for pattern in _patterns():
        count += 1
        compiled = re.compile(pattern)
        for name in filter(compiled.search, names):
            occurring += 1
            assert may_occur(pattern, f"\n{name}"), (pattern, name)
    assert count > 200
    assert occurring > 1_000


def test_what_begins_nowhere_is_not_looked_for() -> None:
    assert not may_occur("^single_blocks", "\ndouble_blocks_#\nx_single_blocks")
    assert may_occur("^single_blocks", "\ndouble_blocks_#\nsingle_blocks_#")
    assert may_occur("^.*x", "\ny")
