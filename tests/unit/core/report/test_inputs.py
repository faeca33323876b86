"""What a result says of the inputs that made it."""

from __future__ import annotations

import copy
from typing import Any

from pack.nodes.core.report.inputs import LONGEST_TEXT, RunInputs, inputs_of

PROMPT: dict[str, Any] = {
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "klein.safetensors"}},
    "2": {
        "class_type": "PatchbayApplyLora",
        "inputs": {"model": ["1", 0], "lora_name": "ink.safetensors", "strength_model": 0.5, "blocks": "all=0"},
    },
    "3": {"class_type": "PatchbayShowPatches", "inputs": {"model": ["2", 0]}},
    "9": {"class_type": "PatchbayInspectFile", "inputs": {"file": "other.safetensors"}},
}


def _of(prompt: dict[str, Any], node: str, stamp: str = "7:7") -> RunInputs:
    made = inputs_of(prompt, "run", node, lambda folder, name: f"{stamp} {folder}")
    assert made is not None
    return made


def test_a_result_depends_on_its_node_and_on_all_before_it_and_on_nothing_else() -> None:
    made = _of(PROMPT, "3")
    assert list(made.nodes) == ["3", "2", "1"]
    assert made.nodes["2"]["inputs"]["blocks"] == "all=0"
    assert made.files == {"diffusion_models/klein.safetensors": "7:7 diffusion_models",
                          "loras/ink.safetensors": "7:7 loras"}  # fmt: skip
    assert list(_of(PROMPT, "1").nodes) == ["1"]


def test_the_fingerprint_changes_with_every_value_link_and_file_before_the_node() -> None:
    changes = [("1", "unet_name", "wide"), ("2", "strength_model", 0.6), ("2", "blocks", ""), ("3", "model", ["1", 0]),
               ("2", "model", ["1", 1])]  # fmt: skip
    prints = {_of(PROMPT, "3").fingerprint, _of(PROMPT, "3", "8:7").fingerprint}
    for node, name, value in changes:
        changed = copy.deepcopy(PROMPT)
        changed[node]["inputs"][name] = value
        prints.add(_of(changed, "3").fingerprint)
    assert len(prints) == 2 + len(changes)


def test_the_fingerprint_knows_neither_ids_nor_other_nodes() -> None:
    renamed = {"21:1": PROMPT["1"], "40": {**PROMPT["2"], "inputs": {**PROMPT["2"]["inputs"], "model": ["21:1", 0]}}}
    assert _of(renamed, "40").fingerprint == _of(PROMPT, "2").fingerprint


def test_long_values_are_kept_as_their_length_and_a_node_made_while_running_has_none() -> None:
    prompt = {"1": {"class_type": "Load", "inputs": {"picture": "x" * (LONGEST_TEXT + 1), "text": "y" * LONGEST_TEXT}}}
    kept = _of(prompt, "1").nodes["1"]["inputs"]
    assert kept == {"picture": {"length": LONGEST_TEXT + 1}, "text": "y" * LONGEST_TEXT}
    assert inputs_of(prompt, "run", "1.0.0.2") is None


def test_a_node_that_many_lead_to_is_read_once() -> None:
    prompt: dict[str, Any] = {"0": {"class_type": "Start", "inputs": {}}}
    for i in range(1, 60):
        prompt[str(i)] = {"class_type": "Both", "inputs": {"a": [str(i - 1), 0], "b": [str(i - 1), 0]}}
    assert len(_of(prompt, "59").nodes) == 60


def test_what_leads_to_the_model_has_a_fingerprint_of_its_own() -> None:
    of = {node: _of(PROMPT, node).model for node in PROMPT}
    assert of["1"] == of["9"] == ""
    assert len({of["1"], of["2"], of["3"]}) == 3
    other = copy.deepcopy(PROMPT)
    other["2"]["inputs"].update(lora_name="x.safetensors", blocks="")
    other["5"] = {"class_type": "PatchbayCheckLora", "inputs": {"model": ["1", 0], "lora_name": "y.safetensors"}}
    assert _of(other, "2").model == _of(other, "5").model == of["2"]
    other["1"]["inputs"]["unet_name"] = "wide.safetensors"
    other["5"]["inputs"]["model"] = ["1", 1]
    changed = {_of(other, "2").model, _of(other, "5").model, _of(PROMPT, "2", "8:8").model}
    assert len({*changed, of["2"]}) == 4
