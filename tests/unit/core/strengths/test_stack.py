"""The community's LORA_STACK: read from any pack, readable by any pack."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from pack.nodes.core.strengths.stack import LoraStackError, StackEntry, find_name, read_stack


def test_our_entries_are_what_other_packs_unpack() -> None:
    entry = StackEntry("a.safetensors", 0.5, 1.0, "double_blocks=0")
    name, model, clip = entry
    assert (name, model, clip) == entry == ("a.safetensors", 0.5, 1.0)
    assert [item.blocks for item in (entry, copy.deepcopy(entry), pickle.loads(pickle.dumps(entry)))] == [
        "double_blocks=0"
    ] * 3


def test_other_packs_entries_are_read() -> None:
    stack: list[Any] = [("a", 1, 0.5), ["b", 0.25, 1], ("None", 1, 1), (None, 1, 1), ("c", 1, 1, None)]
    assert read_stack(stack) == (("a", 1.0, 0.5), ("b", 0.25, 1.0), ("c", 1.0, 1.0))
    assert read_stack(None) == read_stack([]) == ()


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ("a.safetensors", "expected a list of LoRAs, got str"),
        ([("a", 1)], "entry 1: expected"),
        ([("a", 1, 1), 7], "entry 2: expected"),
        ([("a", "1", 1)], "a name and two numbers"),
        ([("a", float("nan"), 1)], "a name and two numbers"),
        ([("a", 1, 1, "1,0,0")], "a fourth value"),
    ],
)
def test_what_is_no_entry_is_refused(stack: Any, message: str) -> None:
    with pytest.raises(LoraStackError, match=message):
        read_stack(stack)


def test_names_are_found_in_the_spellings_of_other_packs() -> None:
    known = ["style/ink.safetensors", "people/ada.safetensors", "old/ada.safetensors"]
    assert find_name("style/ink.safetensors", known) == "style/ink.safetensors"
    assert find_name("style\\ink.safetensors", known) == "style/ink.safetensors"
    assert find_name("ink.safetensors", known) == find_name("ink", known) == "style/ink.safetensors"
    assert find_name("X:/models/loras/style/ink.safetensors", known) == "style/ink.safetensors"
    with pytest.raises(LoraStackError, match="may mean 2 files"):
        find_name("ada", known)
    with pytest.raises(LoraStackError, match="there is no LoRA"):
        find_name("../../etc/passwd", known)
