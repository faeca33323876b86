"""PatchbayApplyLora's host side against the real ComfyUI: same patches, same pictures, and nothing silent."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, native_lora, write
from support import some

pytestmark = pytest.mark.host
NARROW = {"hidden": 128, "double": 2, "single": 3}
WIDE = {"hidden": 256, "double": 1, "single": 1}


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules and the parts of ComfyUI that the tests compare them with."""
    import comfy.sd
    import comfy.utils
    from pack.nodes.core import errors
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply
    from pack.nodes.host.inspect import patches as inspect_patches

    return types.SimpleNamespace(
        sd=comfy.sd, utils=comfy.utils, errors=errors, State=report.LayerState, Level=report.Level,
        apply=apply.apply_lora, show=inspect_patches.inspect_patches,
    )


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**NARROW))


@pytest.fixture(scope="module")
def wide(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**WIDE))


@pytest.fixture(params=["kohya", "native"])
def lora_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    state = kohya_lora(**NARROW) if request.param == "kohya" else native_lora(**NARROW)
    return write(tmp_path / f"{request.param}.safetensors", state)


def sample(model: Any) -> torch.Tensor:
    """Four Euler steps with fixed noise through ComfyUI's own guider."""
    import comfy.samplers

    generator = torch.Generator().manual_seed(5)
    # Older versions of ComfyUI ask for the pooled output of every text encoder, though this model does not use it.
    conditioning = [[torch.randn(1, 4, 64, generator=generator), {"pooled_output": torch.zeros(1, 4)}]]
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(conditioning, conditioning)
    guider.set_cfg(1.0)
    noise = torch.randn(1, 128, 4, 4, generator=generator)
    sigmas = torch.tensor([1.0, 0.9, 0.7, 0.4, 0.0])
    sampler = comfy.samplers.sampler_object("euler")
    return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, seed=0, disable_pbar=True)


def stock(host: Any, model: Any, path: str, strength: float) -> Any:
    return host.sd.load_lora_for_models(model, None, host.utils.load_torch_file(path), strength, 0.0)[0]


def deltas(model: Any, patched: Any) -> dict[str, torch.Tensor]:
    """What each patched weight gains, by ComfyUI's own arithmetic in float64."""
    import comfy.lora

    result = {}
    for key, patches in patched.patches.items():
        weight = model.model_state_dict(key)[key].double()
        result[key] = comfy.lora.calculate_weight(patches, weight.clone(), key, torch.float64) - weight
    return result


@pytest.mark.parametrize("strength", [1.0, 0.6, -0.5])
def test_all_ones_is_the_stock_loader_bit_for_bit(host: Any, model: Any, lora_path: str, strength: float) -> None:
    ours = host.apply(lora_path, "x.safetensors", model, None, strength, 0.0, "all=1").model
    theirs = stock(host, model, lora_path, strength)
    assert list(ours.patches) == list(theirs.patches)
    for key in ours.patches:
        for mine, reference in zip(ours.patches[key], theirs.patches[key], strict=True):
            assert mine[0] == reference[0]
            assert mine[2:4] == reference[2:4]
            for a, b in zip(mine[1].weights, reference[1].weights, strict=True):
                assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    assert torch.equal(sample(ours), sample(theirs))


def test_all_zeros_is_the_unpatched_model(host: Any, model: Any, lora_path: str) -> None:
    for strength, blocks in ((1.0, "all=0"), (0.0, "")):
        result = host.apply(lora_path, "x.safetensors", model, None, strength, 0.0, blocks)
        assert result.model.patches == {}
        assert result.model.patches_uuid == model.patches_uuid
        assert {layer.state for layer in result.report.layers} == {host.State.SKIPPED}
        assert result.report.level is host.Level.OK
        assert torch.equal(sample(result.model), sample(model))


def test_a_lora_changes_the_picture(host: Any, model: Any, lora_path: str) -> None:
    patched = host.apply(lora_path, "x.safetensors", model, None, 1.0, 0.0, "").model
    assert not torch.equal(sample(patched), sample(model))


def test_the_report_names_every_patched_weight(host: Any, model: Any, lora_path: str) -> None:
    result = host.apply(lora_path, "x.safetensors", model, None, 1.0, 0.0, "")
    layers = result.report.layers
    assert {layer.model_key for layer in layers} == set(result.model.patches)
    assert {layer.state for layer in layers} == {host.State.APPLIED}
    assert result.report.coverage == pytest.approx(1.0)
    for layer in layers:
        expected = deltas(model, result.model)[layer.model_key].norm().item()
        assert layer.delta_norm == pytest.approx(expected, rel=1e-4)
        assert layer.norm_ratio is not None


def test_a_lora_for_another_size_changes_nothing_and_says_why(host: Any, wide: Any, lora_path: str) -> None:
    result = host.apply(lora_path, "x.safetensors", wide, None, 1.0, 0.0, "")
    assert result.model.patches == {}
    assert result.report.level is host.Level.ERROR
    assert "Nothing was applied" in result.report.summary
    states = {layer.state for layer in result.report.layers}
    assert states == {host.State.SHAPE_MISMATCH, host.State.NO_SUCH_LAYER}
    assert all(layer.reason for layer in result.report.layers)
    mismatch = next(layer for layer in result.report.layers if layer.state is host.State.SHAPE_MISMATCH)
    assert "384 x 128" in mismatch.reason
    assert "768 x 256" in mismatch.reason
    assert torch.equal(sample(result.model), sample(wide))


def test_the_sum_of_single_blocks_is_the_whole(host: Any, model: Any, lora_path: str) -> None:
    whole = deltas(model, host.apply(lora_path, "x", model, None, 1.0, 0.0, "").model)
    total: dict[str, torch.Tensor] = {}
    for block in ("double_blocks.0", "double_blocks.1", "single_blocks.0", "single_blocks.1", "single_blocks.2"):
        alone = deltas(model, host.apply(lora_path, "x", model, None, 1.0, 0.0, f"all=0, {block}=1").model)
        assert all(key.startswith(f"diffusion_model.{block}.") for key in some(alone))
        for key, delta in alone.items():
            total[key] = total.get(key, torch.zeros_like(delta)) + delta
    assert set(total) == set(whole)
    for key in whole:
        torch.testing.assert_close(total[key], whole[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [0.25, -1.5])
def test_block_strength_is_linear(host: Any, model: Any, lora_path: str, factor: float) -> None:
    one = deltas(model, host.apply(lora_path, "x", model, None, 1.0, 0.0, "").model)
    scaled = deltas(model, host.apply(lora_path, "x", model, None, 2.0, 0.0, f"single_blocks.1={factor}").model)
    assert scaled.keys() == one.keys() != set()
    for key, delta in scaled.items():
        expected = one[key] * 2.0 * (factor if "single_blocks.1." in key else 1.0)
        torch.testing.assert_close(delta, expected, rtol=1e-6, atol=1e-9)


def test_slices_of_fused_weights_take_their_own_strength(host: Any, model: Any, lora_path: str) -> None:
    one = deltas(model, host.apply(lora_path, "x", model, None, 1.0, 0.0, "").model)
    result = host.apply(
        lora_path, "x", model, None, 1.0, 0.0, "double_blocks.0.q=0, single_blocks.2.attn=0.5, single_blocks.1.mlp=0"
    )
    sliced = deltas(model, result.model)
    qkv = "diffusion_model.double_blocks.0.img_attn.qkv.weight"
    expected = one[qkv].clone()
    expected[:128] = 0
    torch.testing.assert_close(sliced[qkv], expected, rtol=0, atol=1e-9)
    linear1 = "diffusion_model.single_blocks.2.linear1.weight"
    expected = one[linear1].clone()
    expected[: 3 * 128] *= 0.5
    torch.testing.assert_close(sliced[linear1], expected, rtol=1e-6, atol=1e-9)
    linear2 = "diffusion_model.single_blocks.1.linear2.weight"
    expected = one[linear2].clone()
    expected[:, 128:] = 0
    torch.testing.assert_close(sliced[linear2], expected, rtol=0, atol=1e-9)


def test_two_nodes_in_a_row_add_up(host: Any, model: Any, lora_path: str) -> None:
    one = deltas(model, host.apply(lora_path, "x", model, None, 1.0, 0.0, "").model)
    half = host.apply(lora_path, "x", model, None, 0.5, 0.0, "").model
    both = deltas(model, host.apply(lora_path, "x", half, None, 0.5, 0.0, "").model)
    assert both.keys() == one.keys() != set()
    for key, delta in both.items():
        torch.testing.assert_close(delta, one[key], rtol=1e-6, atol=1e-9)


def test_a_dead_layer_is_named_and_not_patched(host: Any, model: Any, tmp_path: Path) -> None:
    state = native_lora(**NARROW)
    state["diffusion_model.double_blocks.1.img_mlp.0.lora_B.weight"].zero_()
    path = write(tmp_path / "dead.safetensors", state)
    result = host.apply(path, "dead", model, None, 1.0, 0.0, "")
    dead = [layer for layer in result.report.layers if layer.state is host.State.DEAD]
    assert [layer.model_key for layer in dead] == ["diffusion_model.double_blocks.1.img_mlp.0.weight"]
    assert dead[0].model_key not in result.model.patches
    assert result.report.level is host.Level.OK


def test_an_unknown_block_is_an_error_that_says_what_there_is(host: Any, model: Any, lora_path: str) -> None:
    with pytest.raises(host.errors.BlockStrengthError, match=r"double_blocks\.0-1, single_blocks\.0-2"):
        host.apply(lora_path, "x", model, None, 1.0, 0.0, "single_blocks.7=0.5")


def test_text_encoder_layers_without_a_clip_are_named(host: Any, model: Any, tmp_path: Path) -> None:
    state = kohya_lora(**NARROW)
    prefix = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    state |= {f"{prefix}.lora_down.weight": torch.ones(4, 8), f"{prefix}.lora_up.weight": torch.ones(8, 4)}
    result = host.apply(write(tmp_path / "te.safetensors", state), "te", model, None, 1.0, 1.0, "")
    missing = [layer for layer in result.report.layers if layer.state is not host.State.APPLIED]
    assert [layer.lora_key for layer in missing] == [prefix]
    assert "no CLIP is connected" in missing[0].reason


def test_show_patches_reads_the_patcher_whoever_patched_it(host: Any, model: Any, lora_path: str) -> None:
    ours = host.apply(lora_path, "mine.safetensors", model, None, 0.5, 0.0, "").model
    both = stock(host, ours, lora_path, 0.25)
    report = host.show(both)
    assert {layer.model_key for layer in report.layers} == set(both.patches)
    assert {layer.owner for layer in report.layers} == {"mine.safetensors", "another node"}
    for layer in report.layers:
        assert layer.strength == (0.5 if layer.owner == "mine.safetensors" else 0.25)
        assert layer.norm_ratio is not None
    assert host.show(model).layers == ()


def test_the_model_that_came_in_is_left_alone(host: Any, model: Any, lora_path: str) -> None:
    before = sample(model)
    host.apply(lora_path, "x", model, None, 1.0, 0.0, "")
    assert model.patches == {}
    assert torch.equal(sample(model), before)


def test_sizes_that_would_make_applying_wait_are_left_to_show_patches(host: Any, tmp_path: Path) -> None:
    """A DoRA's change has to be found from the weights themselves; on a real model that takes a minute."""
    sizes = {"hidden": 512, "double": 1, "single": 1}
    model = host.sd.load_diffusion_model_state_dict(flux2_state_dict(**sizes))
    state = native_lora(**sizes)
    for key in [key for key in state if key.endswith("lora_B.weight")]:
        state[key.replace("lora_B.weight", "lora_magnitude_vector")] = torch.rand(state[key].shape[0]) + 0.5
    plain = "diffusion_model.single_blocks.0.linear2"
    del state[f"{plain}.lora_magnitude_vector"]
    path = write(tmp_path / "dora.safetensors", state)
    layers = {layer.model_key: layer for layer in host.apply(path, "dora", model, None, 1.0, 0.0, "").report.layers}
    left = [layer for layer in layers.values() if layer.delta_norm is None]
    assert len(left) == len(layers) - 1
    assert {layer.not_measured for layer in left} == {"measured by Show Patches for a model of this size"}
    assert layers[f"{plain}.weight"].delta_norm is not None
    one = host.apply(path, "dora", model, None, 1.0, 0.0, "all=0, single_blocks.0=1")
    shown = {layer.model_key: layer.delta_norm for layer in host.show(one.model).layers}
    assert shown.keys() == one.model.patches.keys()
    assert all(shown.values())


def test_the_files_metadata_is_handed_on_as_the_stock_loader_does(host: Any, model: Any, tmp_path: Path) -> None:
    """ComfyUI's node for IC-LoRAs reads from the model what the file says of itself."""
    nodes_lt = pytest.importorskip("comfy_extras.nodes_lt")
    if not hasattr(nodes_lt, "GetICLoRAParameters"):
        pytest.skip("this ComfyUI has no node for IC-LoRAs")
    path = write(tmp_path / "ic.safetensors", native_lora(**NARROW), {"reference_downscale_factor": "2"})
    for method in ("merge", "bypass"):
        patched = host.apply(path, "ic", model, None, 1.0, 0.0, "", method=method).model
        assert patched.get_attachment("lora_metadata") == {"reference_downscale_factor": "2"}
        assert nodes_lt.GetICLoRAParameters.execute(patched).args == ({"reference_downscale_factor": 2},)
    assert model.get_attachment("lora_metadata") is None
    assert host.apply(path, "ic", model, None, 0.0, 0.0, "").model.get_attachment("lora_metadata") is None


@pytest.mark.parametrize(("method", "said"), [("merge", True), ("bypass", False)])
def test_only_a_merge_is_called_exactly_as_stock(
    host: Any, model: Any, lora_path: str, method: str, said: bool
) -> None:
    report = host.apply(lora_path, "x", model, None, 1.0, 0.0, "", as_stock=True, method=method).report
    assert any("exactly as ComfyUI's own loader" in note for note in report.notes) is said


def test_a_fused_weight_that_is_changed_whole_and_in_part_keeps_both(host: Any, model: Any, tmp_path: Path) -> None:
    state = {key: tensor for key, tensor in native_lora(**NARROW).items() if "double_blocks.0.img_attn.qkv" in key}
    fused = dict(state)
    for role, shape in (("lora_A", (4, 128)), ("lora_B", (128, 4))):
        state[f"transformer.transformer_blocks.0.attn.to_q.{role}.weight"] = torch.randn(shape) * 0.1
    q = {key: tensor for key, tensor in state.items() if "to_q" in key}
    paths = [write(tmp_path / f"{n}.safetensors", part) for n, part in enumerate((state, fused, q))]
    both, first, second = (
        deltas(model, host.apply(path, "x", model, None, 0.7, 0.0, "double_blocks.0.q=0.5").model) for path in paths
    )
    key = "diffusion_model.double_blocks.0.img_attn.qkv.weight"
    torch.testing.assert_close(both[key], first[key] + second[key], rtol=1e-6, atol=1e-9)
    assert bool(second[key].any())
