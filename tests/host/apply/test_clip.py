"""The text-encoder half of a LoRA, on a real CLIP-L whose weights are never run."""

from __future__ import annotations

import gc
import types
import weakref
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, write

SIZES = {"hidden": 128, "double": 1, "single": 1}
LAYER = "lora_te_text_model_encoder_layers_3_mlp_fc1"
KEY = "clip_l.transformer.text_model.encoder.layers.3.mlp.fc1.weight"


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """A model, a CLIP and the pack's apply function."""
    import comfy.sd
    import comfy.utils
    from pack.nodes.core.report.report import LayerState
    from pack.nodes.host.apply.apply import apply_lora

    text_encoder = {"text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(3072, 768)}
    clip = comfy.sd.load_text_encoder_state_dicts([text_encoder], clip_type=comfy.sd.CLIPType.STABLE_DIFFUSION)
    model = comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES))
    return types.SimpleNamespace(
        model=model, clip=clip, apply=apply_lora, State=LayerState, sd=comfy.sd, load=comfy.utils.load_torch_file
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    generator = torch.Generator().manual_seed(3)
    state = kohya_lora(**SIZES)
    state[f"{LAYER}.lora_down.weight"] = torch.randn(4, 768, generator=generator)
    state[f"{LAYER}.lora_up.weight"] = torch.randn(3072, 4, generator=generator)
    state[f"{LAYER}.alpha"] = torch.tensor(2.0)
    return write(tmp_path_factory.mktemp("lora") / "with_te.safetensors", state)


def test_all_ones_is_the_stock_loader(host: Any, path: str) -> None:
    result = host.apply(path, "x", host.model, host.clip, 0.8, 0.3, "")
    _, clip = host.sd.load_lora_for_models(host.model, host.clip, host.load(path), 0.8, 0.3)
    assert set(result.clip.patcher.patches) == set(clip.patcher.patches) == {KEY}
    ours, theirs = result.clip.patcher.patches[KEY][0], clip.patcher.patches[KEY][0]
    assert ours[0] == theirs[0] == 0.3
    assert all(torch.equal(a, b) for a, b in zip(ours[1].weights[:2], theirs[1].weights[:2], strict=True))
    assert host.clip.patcher.patches == {}


def test_te_strength_multiplies_the_clip_strength(host: Any, path: str) -> None:
    result = host.apply(path, "x", host.model, host.clip, 1.0, 0.5, "all=1, te=0.4")
    layer = next(layer for layer in result.report.layers if layer.model_key == KEY)
    assert (layer.block, layer.block_strength, layer.strength) == ("te", 0.4, 0.2)
    assert result.clip.patcher.patches[KEY][0][0] == pytest.approx(0.2)
    assert {patch[0] for patches in result.model.patches.values() for patch in patches} == {1.0}


def test_a_sweep_elsewhere_takes_the_text_encoder_for_a_unit(host: Any, path: str) -> None:
    """What ``lora-patchbay sweep`` makes of the reports."""
    from pack.nodes.core.report.report import to_json
    from pack.nodes.core.sweep.planned import units_of_report, with_layers
    from pack.nodes.core.sweep.units import strengths_without, tagged

    def applied(blocks: str) -> Any:
        return host.apply(path, "x", host.model, host.clip, 1.0, 1.0, blocks)

    plain = to_json(applied("").report)
    units = units_of_report(plain, "kind of block", True)
    assert [unit.name for unit in units] == ["double_blocks.*", "single_blocks.*", "te"]
    text, tags = tagged(units)
    units = with_layers(units, plain, to_json(applied(text).report), tags)
    assert units[2].layers == 1
    assert sum(unit.energy or 0.0 for unit in units) == pytest.approx(1)
    only = applied(strengths_without(units, {0, 1}))
    assert (len(only.model.patches), set(only.clip.patcher.patches)) == (0, {KEY})
    assert applied(strengths_without(units, {2})).clip.patcher.patches == {}


def test_te_zero_leaves_the_text_encoder_alone(host: Any, path: str) -> None:
    result = host.apply(path, "x", host.model, host.clip, 1.0, 1.0, "te=0")
    assert result.clip.patcher.patches == {}
    assert result.clip.patcher.patches_uuid == host.clip.patcher.patches_uuid
    assert [layer.lora_key for layer in result.report.layers if layer.state is host.State.SKIPPED] == [LAYER]


def test_what_is_known_of_a_clip_goes_with_it(host: Any) -> None:
    """A key map has thousands of names; without the CLIP nobody asks for it again."""
    from pack.nodes.host.apply.plan import MatchCache

    matches, encoder = MatchCache(), {"text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(3072, 768)}
    without = matches.model_keys(host.model, None)
    known = matches._keys[host.model.model]
    for _ in range(3):
        clip = host.sd.load_text_encoder_state_dicts([dict(encoder)], clip_type=host.sd.CLIPType.STABLE_DIFFUSION)
        keys = weakref.ref(matches.model_keys(host.model, clip))
        assert len(known) == 2
        del clip
        gc.collect()
        assert (len(known), keys()) == (1, None)
    assert matches.model_keys(host.model, None) is without
