"""The text-encoder half of a LoRA, saved and scheduled, on a real CLIP-L with random weights."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, write

SIZES = {"hidden": 128, "double": 1, "single": 1}
LAYER = "lora_te_text_model_encoder_layers_3_mlp_fc1"
KEY = "clip_l.transformer.text_model.encoder.layers.3.mlp.fc1.weight"


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """A model, a CLIP whose layers are drawn, and the pack's functions."""
    import comfy.hooks
    import comfy.sd
    import comfy.utils
    from pack.nodes.core import errors
    from pack.nodes.core.bake import file as bake_file
    from pack.nodes.host.apply import apply, schedule
    from pack.nodes.host.bake import save

    text_encoder = {"text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(3072, 768)}
    clip = comfy.sd.load_text_encoder_state_dicts([text_encoder], clip_type=comfy.sd.CLIPType.STABLE_DIFFUSION)
    generator = torch.Generator().manual_seed(2)
    for parameter in clip.cond_stage_model.parameters():
        if parameter.dim() > 1:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5)
        elif parameter.dim():
            parameter.data.copy_(torch.ones_like(parameter))
    model = comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES))
    return types.SimpleNamespace(
        model=model, clip=clip, apply=apply.apply_lora, sd=comfy.sd, load=comfy.utils.load_torch_file,
        hooks=comfy.hooks, save=save.save_lora, options=bake_file.make_options, schedule=schedule.schedule_lora,
        Error=errors.PatchbayError,
    )  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    generator = torch.Generator().manual_seed(3)
    state = kohya_lora(**SIZES)
    state[f"{LAYER}.lora_down.weight"] = torch.randn(4, 768, generator=generator) * 0.3
    state[f"{LAYER}.lora_up.weight"] = torch.randn(3072, 4, generator=generator) * 0.3
    state[f"{LAYER}.alpha"] = torch.tensor(2.0)
    return write(tmp_path_factory.mktemp("lora") / "with_te.safetensors", state)


def encode(clip: Any) -> torch.Tensor:
    return clip.encode_from_tokens(clip.tokenize("a butterfly"))


def with_hooks(host: Any, hooks: Any, scheduled: bool = False) -> list[Any]:
    """What ComfyUI's own node Set CLIP Hooks does, then the text encoder."""
    clip = host.clip.clone()
    clip.apply_hooks_to_conds = hooks
    clip.patcher.forced_hooks = hooks.clone()
    clip.use_clip_schedule = scheduled
    if not scheduled:
        clip.patcher.forced_hooks.set_keyframes_on_hooks(None)
    clip.patcher.register_all_hook_patches(hooks, host.hooks.create_target_dict(host.hooks.EnumWeightTarget.Clip))
    return clip.encode_from_tokens_scheduled(clip.tokenize("a butterfly"))


def test_a_saved_file_changes_the_text_encoder_as_before(host: Any, path: str, tmp_path: Path) -> None:
    blocks = "te=0.5, single_blocks.0=0"
    meant = host.apply(path, "x", host.model, host.clip, 0.8, 0.6, blocks).clip
    options = host.options("never", 0, 1.0, "as in the file")
    for number, clip in enumerate((host.clip, None)):
        saved = host.save(path, "x", host.model, clip, (0.8, 0.6), blocks, options, tmp_path / f"{number}.safetensors")
        _, stock = host.sd.load_lora_for_models(host.model, host.clip, host.load(str(saved.file.path)), 1.0, 1.0)
        assert set(stock.patcher.patches) == {KEY}
        torch.testing.assert_close(encode(stock), encode(meant), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(encode(meant), encode(host.clip), atol=1e-3)


def test_parts_of_a_text_encoder_that_is_not_there_are_refused(host: Any, path: str, tmp_path: Path) -> None:
    options = host.options("never", 0, 1.0, "as in the file")
    with pytest.raises(host.Error, match="a part of the text encoder"):
        host.save(path, "x", host.model, None, (1.0, 1.0), "te.3=0.5", options, tmp_path / "x.safetensors")


def test_hooks_change_the_text_encoder(host: Any, path: str) -> None:
    before = encode(host.clip)
    hooks = host.schedule(path, "x", host.model, host.clip, (1.0, 0.6), "te=0.5", "").hooks
    expected = encode(host.apply(path, "x", host.model, host.clip, 1.0, 0.6, "te=0.5").clip)
    ((cond, options),) = with_hooks(host, hooks)
    torch.testing.assert_close(cond, expected, rtol=1e-5, atol=1e-5)
    assert options["hooks"] is hooks
    assert torch.equal(encode(host.clip), before)


def test_a_course_by_percent_encodes_every_stretch(host: Any, path: str) -> None:
    hooks = host.schedule(path, "x", host.model, host.clip, (1.0, 1.0), "", "0%: te=1; 40%: te=0").hooks
    conds = with_hooks(host, hooks, scheduled=True)
    ranges = [(c[1]["clip_start_percent"], c[1]["clip_end_percent"]) for c in conds]
    assert ranges == [(0.0, 0.4), (0.4, 1.0)]
    applied = encode(host.apply(path, "x", host.model, host.clip, 1.0, 1.0, "").clip)
    torch.testing.assert_close(conds[0][0], applied, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(conds[1][0], encode(host.clip), rtol=1e-5, atol=1e-5)


def test_a_course_by_step_is_not_for_a_text_encoder(host: Any, path: str) -> None:
    with pytest.raises(host.Error, match="runs before the steps"):
        host.schedule(path, "x", host.model, host.clip, (1.0, 1.0), "", "step 0: all=1; step 2: all=0")
    made = host.schedule(path, "x", host.model, host.clip, (1.0, 1.0), "te=1", "step 0: all=1; step 2: all=0, te=1")
    assert len(made.hooks.hooks) == 2
