"""What the command ``sweep`` makes of a workflow before any server is asked for a picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from cli_runs import run
from pack.nodes.core.cli.exits import UsageError
from pack.nodes.core.cli.servers.sweep_task import SweepTask, read_task, split_prompts

NO_CHOICES = argparse.Namespace(
    node="", mode=None, units=None, own_groups="", distance=None, seeds=None, axis=[], output=""
)


def applied() -> dict[str, Any]:
    """Apply LoRA with a text encoder, and a sampler."""
    return {
        "1": {"class_type": "Loader", "inputs": {"name": "x"}},
        "2": {
            "class_type": "PatchbayApplyLora",
            "inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_name": "a/style.safetensors", "blocks": ""},
        },
        "3": {"class_type": "Encode", "inputs": {"clip": ["2", 1], "text": "a cat"}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["2", 0], "positive": ["3", 0], "seed": 7, "steps": 4}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
        "7": {"class_type": "Other", "inputs": {"model": ["1", 0]}},
    }


def sweeping(**change: Any) -> dict[str, Any]:
    """A Block Sweep of two prompts that are joined."""
    inputs = {
        "model": ["1", 0], "lora_name": "style.safetensors", "positive": ["5", 0], "negative": ["3", 0],
        "latent_image": ["1", 1], "vae": ["1", 2], "seed": 7, "seeds": 3, "steps": 4, "cfg": 1.0,
        "sampler_name": "euler", "scheduler": "simple", "mode": "solo", "units": "block and part", "distance": 0.2,
        "time_budget": 60.0, "strength": 0.8, "method": "bypass",
    }  # fmt: skip
    return {
        "1": {"class_type": "Loader", "inputs": {}},
        "3": {"class_type": "Encode", "inputs": {"text": "a cat"}},
        "4": {"class_type": "Encode", "inputs": {"text": "a dog"}},
        "5": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["3", 0], "conditioning_2": ["4", 0]}},
        "6": {"class_type": "PatchbayBlockSweep", "inputs": {**inputs, **change}, "_meta": {"title": "Which blocks"}},
        "8": {"class_type": "PatchbayApplyLora", "inputs": {"blocks": ["6", 0]}},
    }


def task(nodes: dict[str, Any], **options: Any) -> SweepTask:
    chosen = argparse.Namespace(**{**vars(NO_CHOICES), **options})
    return read_task(nodes, chosen, lambda kind: None, lambda kind, field: [])


def test_a_block_sweep_becomes_what_it_samples():
    found = task(sweeping())
    assert (found.mode, found.grouping, found.distance) == ("solo", "block and part", 0.2)
    assert (found.prompts, found.seeds, len(found.scenes)) == (2, 3, 6)
    cell = found.cell("double_blocks.0=0", found.scenes[-1])
    sampler, lora = cell["6"], cell[found.lora]
    assert (sampler["class_type"], lora["class_type"]) == ("KSampler", "PatchbayApplyLora")
    assert sampler["inputs"]["model"] == [found.lora, 0]
    assert (sampler["inputs"]["positive"], sampler["inputs"]["seed"]) == (["4", 0], 9)
    assert (sampler["inputs"]["steps"], sampler["inputs"]["denoise"]) == (4, 1.0)
    assert lora["inputs"]["blocks"] == "double_blocks.0=0"
    assert (lora["inputs"]["strength_model"], lora["inputs"]["method"]) == (0.8, "bypass")
    assert (lora["inputs"]["model"], lora["inputs"]["lora_name"]) == (["1", 0], "style.safetensors")
    assert cell[found.output]["class_type"] == "PreviewImage"
    assert "8" not in cell
    assert found.scenes[0].label == "prompt 1, seed 7"


def test_options_come_before_what_the_node_says():
    found = task(sweeping(), mode="search", units="own groups", own_groups="a; b", distance=0.0, seeds=1)
    assert (found.mode, found.grouping, found.own_groups) == ("search", "own groups", "a; b")
    assert (found.distance, found.seeds, len(found.scenes)) == (0.0, 1, 2)
    assert task(sweeping(), own_groups="a; b").grouping == "own groups"


def test_prompts_of_regions_stay_together():
    nodes = sweeping()
    assert split_prompts(nodes, ["5", 0]) == [["3", 0], ["4", 0]]
    nodes["4"] = {"class_type": "ConditioningSetArea", "inputs": {"conditioning": ["3", 0]}}
    assert split_prompts(nodes, ["5", 0]) == [["5", 0]]
    assert task(nodes).prompts == 1
    assert split_prompts(nodes, ["3", 0]) == [["3", 0]]


def test_apply_lora_is_varied_where_it_stands():
    found = task(applied())
    assert (found.lora, found.mode, found.grouping, found.distance) == ("2", "knock-out", "block", 0.1)
    assert [scene.settings for scene in found.scenes] == [{"4.seed": 7}, {"4.seed": 8}]
    assert found.text_encoder
    assert set(found.prompt) == {"1", "2", "3", "4", "5", "6"}
    cell = found.cell("te=0", found.scenes[1])
    assert (cell["2"]["inputs"]["blocks"], cell["4"]["inputs"]["seed"]) == ("te=0", 8)
    nodes = applied()
    nodes["3"]["inputs"]["clip"] = ["1", 1]
    assert not task(nodes).text_encoder


def test_the_workflows_own_strengths_stay():
    nodes = applied()
    nodes["2"]["inputs"]["blocks"] = "all=0.5,  # half\n\nte=0 # none"
    found = task(nodes)
    assert found.own_blocks == "all=0.5, te=0"
    assert found.strengths("double_blocks.0=0") == "all=0.5, te=0, double_blocks.0=0"
    assert found.strengths("") == "all=0.5, te=0"


def test_axes_are_scenes_and_one_of_seeds_counts_as_seeds():
    found = task(applied(), axis=["3.text=a cat | a dog | a fox"])
    assert (found.prompts, found.seeds, len(found.scenes)) == (3, 2, 6)
    assert found.scenes[-1].settings == {"3.text": "a fox", "4.seed": 8}
    found = task(applied(), axis=["3.text=a cat | a dog", "4.seed=1,2,3"])
    assert (found.prompts, found.seeds, len(found.scenes)) == (2, 3, 6)
    assert found.scenes[-1].settings == {"3.text": "a dog", "4.seed": 3}


def test_without_one_seed_there_is_one_scene_unless_more_are_asked_for():
    nodes = applied()
    nodes["4"]["inputs"]["seed"] = ["7", 0]
    assert len(task(nodes).scenes) == 1
    with pytest.raises(UsageError, match="expected one input with a seed, there is none"):
        task(nodes, seeds=2)
    nodes["4"]["inputs"]["seed"], nodes["3"]["inputs"]["noise_seed"] = 7, 8
    with pytest.raises(UsageError, match=r"there are .*noise_seed"):
        task(nodes, seeds=2)


def test_a_probe_applies_and_samples_nothing():
    found = task(applied())
    probe = found.probe("single_blocks.0=2.5")
    assert {node["class_type"] for node in probe.values()} == {"Loader", "PatchbayApplyLora", "PreviewAny"}
    assert probe["2"]["inputs"]["blocks"].startswith("single_blocks.0=2.5\n# ")
    assert probe["2"]["inputs"]["blocks"] != found.probe("single_blocks.0=2.5")["2"]["inputs"]["blocks"]


def changed(nodes: dict[str, Any], node: str, **inputs: Any) -> dict[str, Any]:
    return {**nodes, node: {**nodes[node], "inputs": {**nodes[node]["inputs"], **inputs}}}


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        ({"1": applied()["1"]}, {}, "neither a node PatchbayBlockSweep nor PatchbayApplyLora"),
        ({**applied(), "9": applied()["2"]}, {}, "several nodes PatchbayApplyLora"),
        (applied(), {"node": "4"}, "node 4 is KSampler; expected PatchbayBlockSweep or"),
        (applied(), {"output": "7"}, "does not come through node 2"),
        (changed(applied(), "2", blocks=["1", 0]), {}, "blocks of node 2 comes from another node"),
        (changed(sweeping(), "6", vae=None), {}, "node 6 has no VAE"),
        (changed(sweeping(), "6", mode=["1", 0]), {}, "mode comes from node 1"),
    ],
)
def test_what_cannot_be_swept_is_named(nodes: dict[str, Any], options: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        task(nodes, **options)


def test_wrong_options_and_no_server_are_said(tmp_path: Path):
    path = tmp_path / "w.json"
    path.write_text(json.dumps(applied()))
    words = ("sweep", path, "-o", tmp_path / "out", "--servers", "http://127.0.0.1:9")
    assert run(*words, "--distance", "1")[0] == 64
    assert run(*words, "--seeds", "0")[0] == 64
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "no ComfyUI answers there" in err
    assert not (tmp_path / "out").exists()
