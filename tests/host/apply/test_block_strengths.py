"""PatchbayBlockStrengths and the user's presets in the real ComfyUI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, write
from support import some

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 2, "single": 4}


@pytest.fixture
def node(pack_nodes: dict[str, Any]) -> Any:
    return pack_nodes["PatchbayBlockStrengths"]


@pytest.fixture(scope="module")
def model(comfy_in_process: Any) -> Any:
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES))


@pytest.fixture
def user_file(comfy_in_process: Any) -> Iterator[Path]:
    import folder_paths
    from pack.nodes.host.apply.presets import PRESET_FILE

    path = Path(folder_paths.get_public_user_directory("default")) / PRESET_FILE
    yield path
    path.unlink(missing_ok=True)


def run(node: Any, **inputs: Any) -> tuple[str, str, Any, str]:
    return node.execute(**{"preset": "none", "blocks": "", **inputs}).args


def test_preset_import_and_items_in_this_order(node: Any) -> None:
    blocks, _, report, _ = run(
        node,
        preset="Single blocks off",
        blocks="single_blocks.2=0.5",
        import_format="kohya --lbws, 12 values, SDXL",
        import_text="[1,1,1,1,1,1,1,1,1,1,1,0]",
    )
    lines = blocks.splitlines()
    assert (lines[0], lines[-1]) == ("single_blocks=0", "single_blocks.2=0.5")
    assert "output_blocks.5=0" in lines[1]
    assert report.level.value == "ok"


def test_every_shipped_preset_applies_or_says_what_the_model_has(node: Any, model: Any) -> None:
    from pack.nodes.core.errors import BlockStrengthError
    from pack.nodes.core.strengths.presets import SHIPPED

    for preset in SHIPPED:
        if preset.name in ("Input blocks off", "Output blocks off"):
            with pytest.raises(BlockStrengthError, match=r"double_blocks\.0-1, single_blocks\.0-3, other"):
                run(node, preset=preset.name, model=model)
        else:
            assert run(node, preset=preset.name, model=model)[2].level.value == "ok"


def test_the_report_says_where_a_preset_comes_from_and_what_was_measured(node: Any, user_file: Path) -> None:
    measured = run(node, preset="First half")[3]
    assert 'The preset "First half" comes from the structure of the model' in measured
    assert "On klein-nano-distilled with the LoRA klein-nano-duotone, 17%" in measured
    assert ".py" not in measured, "a release has no scripts"
    assert "is not measured: the LoRAs that come with the pack have no such" in run(node, preset="Input blocks off")[3]
    user_file.parent.mkdir(parents=True, exist_ok=True)
    mine = {"mine": {"blocks": "all=0.5", "description": ""}}
    user_file.write_text(json.dumps({"schema": "patchbay.user_presets", "version": 1, "presets": mine}))
    assert "comes from" not in run(node, preset="user/mine")[3]


def test_the_report_spells_out_what_applying_does(node: Any, model: Any, tmp_path: Path) -> None:
    from pack.nodes.host.apply.apply import apply_lora

    blocks, _, report, text = run(node, preset="Only attention", blocks="double_blocks.1=0.5", model=model)
    assert report.summary == "6 of 6 blocks have a strength other than 1."
    assert "double_blocks.1: 0.5" in report.notes
    single = next(note for note in report.notes if note.startswith("single_blocks.0-3: "))
    assert "1 (linear1 q, linear1 k, linear1 v, linear2 attn)" in single
    assert "other: 1" in report.notes
    assert all(note in text for note in some(report.notes))
    applied = apply_lora(
        write(tmp_path / "x.safetensors", kohya_lora(**SIZES)), "x", model, None, 1.0, 0.0, blocks
    ).model.patches
    assert {patch[0] for key, found in applied.items() if "double_blocks.1." in key for patch in found} == {0.5}
    cut = applied["diffusion_model.single_blocks.0.linear1.weight"]
    assert sorted(patch[3] for patch in cut) == [(0, 0, 128), (0, 128, 128), (0, 256, 128)]


def test_what_an_import_or_export_loses_is_a_warning(node: Any) -> None:
    _, exported, report, _ = run(node, blocks="double_blocks.0.txt=0.5", export_format="LBW (Inspire), FLUX.2 Klein 4B")
    assert len(exported.split(",")) == 26
    assert report.level.value == "warning"
    assert any("txt_attn.qkv" in note for note in report.notes)


def test_bad_input_is_refused_before_the_run(node: Any) -> None:
    assert node.validate_inputs(blocks="all=1") is True
    assert "item 1" in node.validate_inputs(blocks="nonsense")
    assert "no preset" in node.validate_inputs(preset="Nothing")
    assert "save it again" in node.validate_inputs(preset="user/gone")
    assert "expected 17 numbers" in node.validate_inputs(
        import_format="LBW (sd-webui), 17 values, SD 1.5 and 2.x", import_text="1,2"
    )


def test_text_encoder_items_are_checked_against_the_clip(node: Any, model: Any) -> None:
    import comfy.sd
    from pack.nodes.core.errors import BlockStrengthError

    weights = {"text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(3072, 768)}
    clip = comfy.sd.load_text_encoder_state_dicts([weights], clip_type=comfy.sd.CLIPType.STABLE_DIFFUSION)
    notes = run(node, blocks="te.clip_l.layers.0-5.attn=0.5, te.other=0", model=model, clip=clip)[2].notes
    assert any(note.startswith("te.clip_l.layers.0-5: ") and "0.5 (self_attn" in note for note in notes)
    assert "te.clip_l.layers.6-11: 1" in notes
    with pytest.raises(BlockStrengthError, match=r"te\.clip_l\.layers\.0-11, te\.other"):
        run(node, blocks="te.layers.12=0", model=model, clip=clip)


def test_user_presets_are_in_the_menu_and_change_the_run(node: Any, user_file: Path) -> None:
    from pack.nodes.core.strengths.presets import UserPresets

    UserPresets(user_file).save("My own", "double_blocks=0.3")
    options = next(item for item in node.define_schema().inputs if item.id == "preset").options
    assert "user/My own" in options
    assert run(node, preset="user/My own")[0] == "double_blocks=0.3"
    before = node.fingerprint_inputs(preset="user/My own")
    UserPresets(user_file).save("My own", "double_blocks=0.4", overwrite=True)
    assert node.fingerprint_inputs(preset="user/My own") != before


def test_with_several_users_a_run_knows_no_preset_of_theirs(
    node: Any, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.cli_args import args
    from pack.nodes.core.strengths.presets import UserPresets

    UserPresets(user_file).save("My own", "double_blocks=0.3")
    monkeypatch.setattr(args, "multi_user", True)
    options = next(item for item in node.define_schema().inputs if item.id == "preset").options
    assert not [option for option in options if option.startswith("user/")]
    assert "does not say whose" in node.validate_inputs(preset="user/My own")


def test_the_file_of_presets_is_plain_json(user_file: Path) -> None:
    from pack.nodes.core.strengths.presets import UserPresets

    UserPresets(user_file).save("\u84bc\u3044\u7a7a", "all=0.5", "half")
    data = json.loads(user_file.read_text(encoding="utf-8"))
    assert data["presets"] == {"\u84bc\u3044\u7a7a": {"blocks": "all=0.5", "description": "half"}}


@pytest.mark.parametrize("method", ["merge", "bypass"])
def test_an_adapter_that_cannot_be_cut_says_so_and_what_to_do(model: Any, tmp_path: Path, method: str) -> None:
    from pack.nodes.core.errors import BlockStrengthError
    from pack.nodes.host.apply.apply import apply_lora

    prefix = "diffusion_model.single_blocks.0.linear1"
    factors = {f"{prefix}.lokr_w1": torch.eye(2), f"{prefix}.lokr_w2": torch.ones(576, 64)}
    path = write(tmp_path / "lokr.safetensors", factors)
    with pytest.raises(BlockStrengthError, match=r'is only a part.*one lokr.*Give the parts .* one strength'):
        apply_lora(path, "lokr", model, None, 1.0, 0.0, "single_blocks.0.mlp=0.5", method=method)
    whole = apply_lora(path, "lokr", model, None, 1.0, 0.0, "single_blocks.0.mlp=0.5, single_blocks.0.attn=0.5")
    assert {layer.strength for layer in whole.report.layers} == {0.5}
