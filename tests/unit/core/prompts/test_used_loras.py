"""Which LoRAs lie before an input, read from prompts as ComfyUI executes them."""

from __future__ import annotations

from typing import Any

import pytest
from pack.nodes.core.prompts.used_loras import UsedLora, loras_before, used_text

COMPARE: dict[str, Any] = {"image_a": ["20", 0], "image_b": ["30", 0], "gain": 4.0}


def prompt(**nodes: dict[str, Any]) -> dict[str, Any]:
    """``n7={...}`` is node 7 with these inputs."""
    made = {key[1:]: {"class_type": "Any", "inputs": inputs} for key, inputs in nodes.items()}
    return {**made, "9": {"class_type": "PatchbayCompareImages", "inputs": COMPARE}}


def used(name: str, model: float | None = 1.0, clip: float | None = None, blocks: str = "") -> UsedLora:
    return UsedLora(name, model, clip, blocks)


def test_each_side_has_its_own_in_the_order_of_loading() -> None:
    made = prompt(
        n1={"lora_name": "first", "strength_model": 1.0, "strength_clip": 1.0, "model": ["0", 0]},
        n2={"lora_name": "second", "strength_model": -0.5, "strength_clip": 0.25, "model": ["1", 0], "clip": ["1", 1],
            "blocks": "all=0,\nsingle_blocks.3=1"},
        n20={"samples": ["1", 0]},
        n30={"samples": ["2", 0], "positive": ["2", 1]},
    )  # fmt: skip
    assert loras_before(made, "9", "image_a") == (used("first"),)
    second = used("second", -0.5, 0.25, "all=0, single_blocks.3=1")
    assert loras_before(made, "9", "image_b") == (used("first"), second)
    assert used_text((used("d\\ink.safetensors", 0.8), second)) == (
        "ink x 0.8, second x -0.5 / 0.25 (all=0, single_blocks.3=1)"
    )


def test_strengths_and_blocks_from_other_nodes() -> None:
    made = prompt(
        n1={"value": 0.3},
        n2={"float_a": 0.3},
        n3={"lora_name": "fitted by this", "strength_model": 1.0},
        n20={"lora_name": "one", "strength_model": ["1", 0], "blocks": ["3", 0]},
        n30={"lora_name": "two", "strength": ["2", 0]},
    )
    assert loras_before(made, "9", "image_a") == (used("one", 0.3, blocks="..."),)
    assert loras_before(made, "9", "image_b") == (used("two", None),)
    assert used_text((used("two", None),)) == "two x ?"


def test_rows_of_a_loader_with_many_and_what_is_no_loader() -> None:
    rows = {"lora_1": {"on": True, "lora": "x", "strength": 2}, "lora_2": {"on": False, "lora": "y", "strength": 1}}
    made = prompt(
        n20={**rows, "model": ["5", 0]}, n5={"lora_name": "inspected"}, n30={"lora_name": "None", "strength": 1}
    )
    assert loras_before(made, "9", "image_a") == (used("x", 2.0),)
    assert loras_before(made, "9", "image_b") == ()


@pytest.mark.parametrize(
    "broken", [None, [], {"9": None}, {"9": {"inputs": []}}, {"9": {"inputs": {"image_a": ["x", 0]}}}]
)
def test_what_is_no_prompt_says_nothing(broken: Any) -> None:
    assert loras_before(broken, "9", "image_a") == ()
    assert loras_before(broken, None, "image_a") == ()


def test_a_ring_ends() -> None:
    made = prompt(n20={"model": ["21", 0], "lora": "x", "strength": 1}, n21={"model": ["20", 0]}, n30={})
    assert loras_before(made, "9", "image_a") == (used("x"),)
