"""The index of names gives the answer of a table that is written out wholly, in whatever order it is asked."""

from __future__ import annotations

import random

from pack.nodes.core.model.facts import flat_names
from pack.nodes.core.model.families import FAMILIES
from pack.nodes.core.model.name_index import PARAMETERS, NameIndex


def _table() -> dict[str, int]:
    found: dict[str, int] = {}
    for number, family in enumerate(FAMILIES):
        others = (name for link in family.links for name in link.file)
        for name in (*family.layer_names(), *others) if family.layers else ():
            for flat in flat_names(name) if not name.endswith(PARAMETERS) else ():
                found[flat] = found.get(flat, 0) | 1 << number
    return found


def test_every_name_has_all_its_families() -> None:
    table = _table()
    names = list(table)
    random.Random(0).shuffle(names)
    index = NameIndex(FAMILIES)
    assert {name: index.families_of(name) for name in names} == table
    assert {name: index.families_of(name) for name in names} == table  # once more, now that all are written out


def test_names_that_nobody_has() -> None:
    index = NameIndex(FAMILIES)
    assert [index.families_of(name) for name in ("", "double_blocks_#_no_such_layer", "scale_shift_table", "#")] == [
        0
    ] * 4


def test_a_prefix_of_a_tool_may_be_missing() -> None:
    """Stable Audio's own container is called like what tools put before names."""
    index = NameIndex(FAMILIES)
    name = "layers_#_self_attn_to_qkv"
    assert index.families_of(name)
    assert index.families_of(f"transformer_{name}") == index.families_of(name)
