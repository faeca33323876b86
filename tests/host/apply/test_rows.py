"""Rows in the real ComfyUI: the same patches as a stack, nothing where all is off, and a report for each row."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from nano_models import flux2_state_dict, native_lora, write
from support import some

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 2}


@pytest.fixture(scope="module")
def model(comfy_in_process: Any) -> Any:
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES))


@pytest.fixture
def files(comfy_in_process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import folder_paths

    for seed, name in enumerate(("one", "two")):
        lora = native_lora(seed=seed, **SIZES)
        write(tmp_path / f"{name}.safetensors", lora, {"modelspec.trigger_phrase": f"{name}style, both"})
    names, extensions = folder_paths.folder_names_and_paths["loras"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([*names, str(tmp_path)], extensions))
    folder_paths.filename_list_cache.pop("loras", None)
    return tmp_path


def patch_list(model: Any) -> dict[str, list[float]]:
    return {key: [patch[0] for patch in found] for key, found in model.patches.items()}


def test_rows_and_tags_patch_as_a_stack_of_the_same(pack_nodes: dict[str, Any], model: Any, files: Path) -> None:
    node, stacked = pack_nodes["PatchbayApplyLoras"], pack_nodes["PatchbayApplyLoraStack"]
    rows = json.dumps(
        [
            {"lora": "one.safetensors", "strength": 0.5, "blocks": "single_blocks=0"},
            {"lora": "two.safetensors", "on": False},
        ]
    )
    stack = [("one.safetensors", 2.0, 1.0)]
    ours = node.execute(model, rows, lora_stack=stack, lora_text="a cat <lora:two:-0.25>").args[0]
    entry = pack_nodes["PatchbayStackLora"].execute("one.safetensors", 0.5, 0.5, "single_blocks=0", stack).args[0]
    theirs = stacked.execute(model, [*entry, ("two.safetensors", -0.25, 1.0)]).args[0]
    assert patch_list(ours) == patch_list(theirs)
    assert any({2.0, -0.25} <= set(strengths) for strengths in some(list(patch_list(ours).values())))


@pytest.mark.parametrize("rows", ["", "[]", '[{"lora": "one.safetensors", "on": false}, {"lora": ""}]'])
def test_all_off_hands_the_model_on_as_it_is(pack_nodes: dict[str, Any], model: Any, files: Path, rows: str) -> None:
    node = pack_nodes["PatchbayApplyLoras"]
    assert node.validate_inputs(rows) is True
    out, clip, report, _, words = node.execute(model, rows).args
    assert out is model
    assert (clip, words, report.level.value) == (None, "", "ok")
    assert pack_nodes["PatchbayApplyLoraStack"].execute(model).args[0] is model


def test_the_report_says_for_each_row_what_landed_and_where_rows_meet(
    pack_nodes: dict[str, Any], model: Any, files: Path
) -> None:
    rows = json.dumps(
        [
            {"lora": "one.safetensors", "on": False},
            {"lora": "one.safetensors"},
            {"lora": "two.safetensors", "blocks": "double_blocks=0"},
        ]
    )
    output = pack_nodes["PatchbayApplyLoras"].execute(model, rows)
    _, _, report, text, words = output.args
    told = output.ui["patchbay_rows"][0]["rows"]
    assert [(row["row"], row["lora"], row["level"]) for row in told] == [
        (1, "one.safetensors", "ok"),
        (2, "two.safetensors", "ok"),
    ]
    assert 0 < told[1]["applied"] < told[0]["applied"] == told[0]["layers"]
    meets = f"one.safetensors and two.safetensors meet in {told[1]['applied']} places of the weights"
    assert any(meets in note and "single_blocks.0-1" in note and "double" not in note for note in report.notes)
    assert meets in text
    assert words == "onestyle, both, twostyle"


def test_a_row_that_cannot_be_meant_is_refused_before_the_run(pack_nodes: dict[str, Any], files: Path) -> None:
    check = pack_nodes["PatchbayApplyLoras"].validate_inputs
    assert "row 2" in check('[{"lora": "one.safetensors"}, {"lora": "gone.safetensors"}]')
    assert check('[{"lora": "gone.safetensors", "on": false}]') is True
    assert check('[{"lora": "../one.safetensors"}]') is True  # by its name, in the user's own folders
    assert "JSON" in check("[")


def test_a_replaced_file_is_another_input(pack_nodes: dict[str, Any], files: Path) -> None:
    stamp = pack_nodes["PatchbayApplyLoras"].fingerprint_inputs
    on, off = '[{"lora": "one"}]', '[{"lora": "one", "on": false}]'
    before = stamp(on), stamp(off)
    write(files / "one.safetensors", native_lora(seed=9, rank=2, **SIZES))
    os.utime(files / "one.safetensors", ns=(1, 1))
    assert stamp(on) != before[0]
    assert stamp(off) == before[1]
