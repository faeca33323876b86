"""Patterns that are looked for as texts find what a regular expression finds, and no pattern is passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pack.nodes.core.lora.file_kinds import _KINDS
from pack.nodes.core.model.facts import collect_facts
from pack.nodes.core.model.families import FAMILIES
from pack.nodes.core.model.literals import as_lines, find_line, find_lines, literals, occurs


@pytest.mark.parametrize(
    ("pattern", "texts", "whole"),
    [
        ("^blocks_#_attn$", ("\nblocks_#_attn\n",), True),
        ("blocks?_x", ("blocks_x", "block_x"), True),
        ("(?:blocks)?_x", ("blocks_x", "_x"), True),
        ("x?_y", ("x_y", "_y"), True),
        (r"^img_in|processor\.[qkv]", ("\nimg_in", "processor.q", "processor.k", "processor.v"), True),
        ("^(?:double|single)_blocks", ("\ndouble_blocks", "\nsingle_blocks"), True),
        ("^(?:a[|)]b|(?:c|d)e)_x|^f", ("\na", "\nce", "\nde", "\nf"), False),
        ("^ffn_(?:[02]$|net_)", ("\nffn_0\n", "\nffn_2\n", "\nffn_net_"), True),
        ("^a(?:b.*|c)d|e", ("\nab", "\nac", "e"), False),
        ("^.*attn", (), False),
        ("^[^qk]_proj", (), False),
        ("[0-9]_x", (), False),
        (r"^\d+_x", (), False),
        (r"ab\d", ("ab",), False),
        ("(?i)name", (), False),
        ("a{2}b", (), False),
        ("xab+c", ("xa",), False),
        ("^$", (), False),
        ("", (), False),
        ("a|", (), False),
        ("[abcdefghi][abcdefghi]", tuple("abcdefghi"), False),
    ],
)
def test_what_a_pattern_stands_for(pattern: str, texts: tuple[str, ...], whole: bool) -> None:
    assert literals(pattern) == (texts, whole)


def _patterns() -> Iterator[str]:
    """Every pattern that the families' rules ask for, and those of the kinds of files."""

    class Asked(dict[str, str]):
        def __contains__(self, key: object) -> bool:
            seen.add(str(key))
            return super().__contains__(key)

    seen: set[str] = set()
    facts = collect_facts([("x_#", 1, 1)], whole=False)
    object.__setattr__(facts, "_found", Asked())
    for family in FAMILIES:
        for rule in (*family.marks, *family.hints, *family.against):
            rule(facts)
        seen.update(pattern for pattern, _ in family.hidden)
    yield from sorted(seen)
    yield from (pattern for _, patterns in _KINDS for pattern in patterns)


def _names() -> list[str]:
    names = {name for family in FAMILIES for name in family.layer_names()}
    names |= {name for family in FAMILIES for link in family.links for name in link.file}
    flat = {name.replace(".", "_") for name in names}
    with_numbers = {f"{name.replace('#', '0')}.weight" for name in names}
    return sorted(names | flat | with_numbers | {f"x_{name}_x" for name in flat})


def test_rules_of_families_find_what_regular_expressions_find() -> None:
    names = _names()
    lines = as_lines(names)
    count = found_in_all = 0
    for pattern in _patterns():
        count += 1
        compiled = re.compile(pattern)
        expected = [name for name in names if compiled.search(name)]
        found_in_all += len(expected)
        assert list(find_lines(pattern, names)) == expected, pattern
        assert find_line(pattern, lines) == (expected[0] if expected else ""), pattern
        assert occurs(pattern, lines) == bool(expected), pattern
        for name in expected[:20]:
            assert find_line(pattern, as_lines([name])) == name, pattern
    assert count > 200
    assert found_in_all > 2_000


def test_most_patterns_need_no_regular_expression() -> None:
    patterns = set(_patterns())
    assert sum(literals(pattern).whole for pattern in patterns) > 0.7 * len(patterns)


def test_the_end_of_one_name_and_the_beginning_of_the_next_are_two_names() -> None:
    lines = as_lines(["a_b", "b_c"])
    assert find_line("b$", lines) == "a_b"
    assert find_line("^b", lines) == "b_c"
    assert find_line("^b$", lines) == ""
    assert not occurs("a_b_c", lines)


def test_facts_have_the_names_that_a_pattern_finds() -> None:
    layers: list[tuple[str, Any, Any]] = [("blocks.0.attn.q", 4, 8), ("blocks.0.attn.k", 2, 8), ("head", 1, 4)]
    facts = collect_facts(layers, whole=True)
    assert facts.names("_[kv]$") == ["blocks_#_attn_k"]
    assert facts.names(r"^blocks_#_\w+_[qk]$") == ["blocks_#_attn_q", "blocks_#_attn_k"]
    assert (facts.rows("_[kv]$"), facts.columns("^head")) == (2, 4)
    assert facts.names("^tail") == []
