"""Files of saved conditioning as ComfyUI's own nodes write and read them."""

from __future__ import annotations

import json

import pytest
import torch
from pack.nodes.core.errors import HeaderError
from pack.nodes.core.prompts.conditioning import (
    ConditioningFile,
    add_prompt,
    list_prompts,
    load_conditioning_file,
    load_prompt,
    save_conditioning_file,
)
from pack.nodes.core.prompts.conditioning_values import same_conditioning
from safetensors import safe_open
from safetensors.torch import load_file, save_file

LATENTS = [torch.arange(4.0), torch.ones(2, 2)]
OPTIONS = {"pooled_output": torch.arange(3.0).bfloat16(), "reference_latents": LATENTS, "guidance": 3.5, "flag": True}
MAIN = torch.randn(1, 5, 6, generator=torch.Generator().manual_seed(1)).bfloat16()


def saved(path, *conditionings):
    file = ConditioningFile()
    for number, conditioning in enumerate(conditionings):
        file = add_prompt(file, f"prompt {number}", conditioning)
    save_conditioning_file(path, file)
    return path


def stock_file(path, options=None):
    """A file as ComfyUI's *Save Conditioning* writes it."""
    tensors = {"conditioning": MAIN, "pooled_output": OPTIONS["pooled_output"]}
    tensors |= {f"reference_latents.{number}": each for number, each in enumerate(LATENTS)}
    values = json.dumps({"guidance": 3.5, "flag": True}) if options is None else options
    save_file(tensors, path, {"conditioning_options": values})
    return path


def test_a_file_of_comfyuis_own_node_is_read(tmp_path):
    path = stock_file(tmp_path / "a cat_00001_.safetensors")
    assert [prompt.name for prompt in list_prompts(path)] == ["a cat_00001_"]
    loaded = load_prompt(path)
    assert same_conditioning(loaded.conditioning, [[MAIN, OPTIONS]])


def test_ten_parts_of_a_list_come_in_order(tmp_path):
    parts = {f"parts.{number}": torch.full((1,), float(number)) for number in range(12)}
    save_file({"conditioning": MAIN, **parts}, tmp_path / "a.safetensors")
    options = load_prompt(tmp_path / "a.safetensors").conditioning[0][1]
    assert [float(part) for part in options["parts"]] == list(range(12))


def test_one_prompt_lies_as_comfyuis_loader_reads_it(tmp_path):
    path = saved(tmp_path / "a.safetensors", [[MAIN, {**OPTIONS, "nothing": None}]])
    tensors = load_file(path)
    assert set(tensors) == {"conditioning", "pooled_output", "reference_latents.0", "reference_latents.1"}
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["conditioning_options"]) == {"guidance": 3.5, "flag": True}
    assert same_conditioning(load_prompt(path).conditioning, [[MAIN, {**OPTIONS, "nothing": None}]])


@pytest.mark.parametrize(
    "options",
    [
        {"area": (1, 2)}, {"deep": {"a": MAIN}}, {"empty": []}, {"a.0": MAIN}, {"bad": float("nan")},
        {"mixed": [1, MAIN]}, {"conditioning": MAIN}, {"$x": 1},
    ],
)  # fmt: skip
def test_what_comfyui_would_lose_is_laid_out_as_before_and_comes_back_whole(tmp_path, options):
    path = saved(tmp_path / "a.safetensors", [[MAIN, options]])
    assert "conditioning" not in load_file(path)
    assert repr(load_prompt(path).conditioning[0][1].keys()) == repr(options.keys())
    assert same_conditioning(load_prompt(path).conditioning, [[MAIN, options]])


def test_a_tuple_stays_one_here(tmp_path):
    path = saved(tmp_path / "a.safetensors", [[MAIN, {"pair": tuple(LATENTS)}]])
    assert set(load_file(path)) == {"conditioning", "pair.0", "pair.1"}
    assert same_conditioning(load_prompt(path).conditioning, [[MAIN, {"pair": tuple(LATENTS)}]])


def test_a_prompt_is_added_to_comfyuis_file_and_nothing_is_lost(tmp_path):
    path = stock_file(tmp_path / "a.safetensors")
    file = add_prompt(load_conditioning_file(path), "second", [[MAIN * 2, {}]])
    save_conditioning_file(path, file)
    assert [prompt.name for prompt in list_prompts(path)] == ["a", "second"]
    assert same_conditioning(load_prompt(path, "a").conditioning, [[MAIN, OPTIONS]])
    assert "conditioning_options" not in load_conditioning_file(path).metadata


@pytest.mark.parametrize("options", ["[1]", "{", '{"$tensor": "x"}'])
def test_metadata_that_is_no_object_is_refused(tmp_path, options):
    with pytest.raises(HeaderError, match="conditioning_options"):
        load_prompt(stock_file(tmp_path / "a.safetensors", options))
