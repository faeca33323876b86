"""Bypass: beside the weight in the forward pass, the same result as merging, and nothing left behind."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from bypass_files import FORMATS, adapter_file
from bypass_support import ROUNDING, SIZES, apply, relative, sample
from nano_models import flux2_state_dict, native_lora, write

pytestmark = pytest.mark.host


def hooked(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())


@pytest.mark.parametrize("name", FORMATS)
def test_every_additive_format_is_the_same_beside_and_merged(host: Any, model: Any, tmp_path: Path, name: str) -> None:
    path = adapter_file(name, tmp_path, SIZES)
    merged, beside = (apply(host, path, model, method, 0.7) for method in ("merge", "bypass"))
    expected, base = sample(host, merged.model), sample(host, model)
    assert relative(expected, base) > 1e-3
    assert relative(sample(host, beside.model), expected) < ROUNDING
    assert beside.model.patches == {}
    assert {layer.method for layer in beside.report.layers} == {"bypass"}
    assert {layer.method for layer in merged.report.layers} == {"merge"}
    assert torch.equal(sample(host, model), base)


@pytest.mark.parametrize("blocks", ["", "double_blocks.0.q=0, single_blocks.1.attn=0.5, single_blocks.0.mlp=-1"])
def test_slices_of_fused_weights(host: Any, model: Any, lora_path: str, blocks: str) -> None:
    merged, beside = (apply(host, lora_path, model, method, 1.3, blocks) for method in ("merge", "bypass"))
    assert relative(sample(host, beside.model), sample(host, merged.model)) < ROUNDING
    assert beside.model.patches == {}


def test_a_strength_change_moves_and_patches_nothing(host: Any, model: Any, lora_path: str) -> None:
    results = [apply(host, lora_path, model, "bypass", strength) for strength in (1.0, 0.25)]
    assert all(result.model.patches_uuid == model.patches_uuid for result in results)
    first, second = (host.bypass.bypass_stack(result.model) for result in results)
    assert first.root is second.root
    parameters = list(first.root.model.parameters())
    sample(host, results[0].model)
    before = [parameter.data_ptr() for parameter in parameters]
    merged = apply(host, lora_path, model, "merge", 0.25).model
    assert relative(sample(host, results[1].model), sample(host, merged)) < ROUNDING
    assert [parameter.data_ptr() for parameter in parameters] == before


def test_it_stacks_with_itself_with_stock_merge_and_with_core_bypass(host: Any, model: Any, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.safetensors", native_lora(rank=seed, seed=seed, **SIZES)) for seed in (3, 4, 6)]
    tensors = [host.utils.load_torch_file(path) for path in paths]
    merged = model
    for path, strength in zip([*paths, paths[0]], (1.0, -0.5, 0.8, 0.3), strict=True):
        merged = apply(host, path, merged, "merge", strength).model
    one = apply(host, paths[0], model, "bypass", 1.0).model
    two = host.sd.load_bypass_lora_for_models(one, None, tensors[1], -0.5, 0.0)[0]
    three = host.sd.load_lora_for_models(two, None, tensors[2], 0.8, 0.0)[0]
    four = apply(host, paths[0], three, "bypass", 0.3).model
    base, expected = sample(host, model), sample(host, merged)
    assert relative(sample(host, four), expected) < ROUNDING
    assert len(host.bypass.bypass_stack(four).hooks) == len(host.bypass.bypass_stack(one).hooks)
    assert torch.equal(sample(host, model), base)
    assert hooked(model) == 0


def test_what_depends_on_the_weight_is_merged_and_says_why(host: Any, model: Any, tmp_path: Path) -> None:
    state = native_lora(**SIZES)
    name = "diffusion_model.double_blocks.0.img_attn.proj"
    state[f"{name}.dora_scale"] = torch.rand(128, 1) + 0.5
    path = write(tmp_path / "dora.safetensors", state)
    merged, beside = (apply(host, path, model, method) for method in ("merge", "bypass"))
    assert list(beside.model.patches) == [f"{name}.weight"]
    layer = next(layer for layer in beside.report.layers if layer.method == "merge")
    assert "merged, because dora (lora) rescales the weight itself" in layer.reason
    assert any("merged all the same" in note for note in beside.report.notes)
    assert relative(sample(host, beside.model), sample(host, merged.model)) < ROUNDING


def test_nothing_stays_in_the_model(host: Any, model: Any, lora_path: str) -> None:
    base = sample(host, model)

    def stop(*_: Any) -> None:
        raise RuntimeError("an error in the middle of a run")

    def interrupt(*_: Any) -> None:
        raise host.management.InterruptProcessingException

    for callback, error in ((None, None), (stop, RuntimeError), (interrupt, BaseException)):
        patched = apply(host, lora_path, model, "bypass").model
        if error is None:
            assert not torch.equal(sample(host, patched), base)
        else:
            with pytest.raises(error):
                sample(host, patched, callback)
        assert torch.equal(sample(host, model), base)
        assert hooked(model) == 0
        sample(host, patched)
        del patched
        gc.collect()
        assert hooked(model) == 0
    other = apply(host, lora_path, model, "bypass", 0.5).model
    copy = other.clone()
    sample(host, other)
    twin = other.clone()  # says of itself that it is injected
    del twin
    gc.collect()
    assert hooked(model) > 0
    assert relative(sample(host, copy), sample(host, other)) == 0
    assert torch.equal(sample(host, model), base)


def test_the_node_before_is_not_changed_by_the_node_after(host: Any, model: Any, lora_path: str) -> None:
    one = apply(host, lora_path, model, "bypass", 1.0).model
    first = sample(host, one)
    dora = native_lora(**SIZES)
    dora["diffusion_model.double_blocks.0.img_attn.proj.dora_scale"] = torch.ones(128, 1)
    path = write(Path(lora_path).with_name("dora.safetensors"), dora)
    two = apply(host, path, one, "bypass", 1.0).model  # patches weights too, while the first is loaded
    assert torch.equal(sample(host, one), first)
    assert not torch.equal(sample(host, two), first)


def test_the_factors_are_loaded_and_counted_by_comfyui(host: Any, model: Any, lora_path: str) -> None:
    patched = apply(host, lora_path, model, "bypass").model
    sample(host, patched)
    stack = host.bypass.bypass_stack(patched)
    loaded = [entry for entry in host.management.loaded_models() if entry.model is stack.root.model]
    assert len(loaded) == 1
    assert loaded[0].model_size() == stack.root.model.size_bytes > 0


def test_half_precision(host: Any, tmp_path: Path) -> None:
    state = {key: tensor.bfloat16() for key, tensor in flux2_state_dict(seed=2, **SIZES).items()}
    model = host.sd.load_diffusion_model_state_dict(state, model_options={"dtype": torch.bfloat16})
    path = write(tmp_path / "half.safetensors", {k: t.bfloat16() for k, t in native_lora(seed=7, **SIZES).items()})
    merged, beside = (sample(host, apply(host, path, model, method).model) for method in ("merge", "bypass"))
    assert relative(beside, merged) < 0.02
    assert relative(merged, sample(host, model)) > 0.02


def test_show_patches_lists_what_runs_beside(host: Any, model: Any, lora_path: str) -> None:
    from pack.nodes.host.inspect.patches import inspect_patches

    patched = apply(host, lora_path, model, "bypass", 0.7).model
    stacked = host.sd.load_lora_for_models(patched, None, host.utils.load_torch_file(lora_path), 0.3, 0.0)[0]
    report = inspect_patches(stacked)
    found = {(layer.owner, layer.method, layer.strength) for layer in report.layers}
    assert found == {(Path(lora_path).name, "bypass", 0.7), ("another node", "", 0.3)}
    assert report.notes == ()
    assert "12 of 29 weights are patched" in report.summary
    assert "12 of 29 weights have something computed alongside them (bypass)" in report.summary
    assert inspect_patches(patched).summary.startswith("12 of 29 weights have something computed alongside them")


def test_cheapest_on_the_cpu_merges_and_says_so(host: Any, model: Any, lora_path: str) -> None:
    result = host.apply(lora_path, "x", model, None, 1.0, 0.0, "", method="cheapest", steps=4)
    assert result.model.patches
    assert any(note.startswith("Method cheapest took merge: on the CPU") for note in result.report.notes)
    assert any("only the number of steps changes" in note for note in result.report.notes)  # nothing runs it again
    stock = host.apply(lora_path, "x", model, None, 1.0, 0.0, "", as_stock=True, method="cheapest", steps=4)
    assert any("as_stock asks for exactly" in note for note in stock.report.notes)


def test_a_text_encoder_beside_its_weights(host: Any, model: Any, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    text_encoder = {"text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(3072, 768)}
    clip = host.sd.load_text_encoder_state_dicts([text_encoder], clip_type=host.sd.CLIPType.STABLE_DIFFUSION)
    for name, parameter in clip.cond_stage_model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * 0.03
        parameter.data.copy_(noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    state = native_lora(**SIZES)
    for layer in range(3):
        prefix = f"lora_te_text_model_encoder_layers_{layer}_mlp_fc1"
        state[f"{prefix}.lora_down.weight"] = torch.randn(4, 768, generator=generator) * 0.1
        state[f"{prefix}.lora_up.weight"] = torch.randn(3072, 4, generator=generator) * 0.1
    path = write(tmp_path / "te.safetensors", state)
    tokens = clip.tokenize("a cat")
    base = clip.encode_from_tokens(tokens)
    results = {m: host.apply(path, "te", model, clip, 1.0, 0.8, "", method=m) for m in ("merge", "bypass")}
    merged, beside = (results[m].clip.encode_from_tokens(tokens) for m in ("merge", "bypass"))
    assert relative(merged, base) > 1e-3
    assert relative(beside, merged) < 2**-10  # merged weights are rounded to half precision
    assert results["bypass"].clip.patcher.patches == {}
    assert torch.equal(clip.encode_from_tokens(tokens), base)


def test_convolutions_of_a_unet(host: Any, tmp_path: Path) -> None:
    from tiny_models import tiny_model

    unet = tiny_model("SD 1.5")
    generator, state = torch.Generator().manual_seed(9), {}
    modules = {n: m for n, m in unet.model.diffusion_model.named_modules() if isinstance(m, torch.nn.Conv2d)}
    for name, module in modules.items():
        out, columns, *kernel = module.weight.shape
        state[f"diffusion_model.{name}.lora_down.weight"] = torch.randn(4, columns, *kernel, generator=generator) * 0.1
        state[f"diffusion_model.{name}.lora_up.weight"] = torch.randn(out, 4, 1, 1, generator=generator) * 0.1
    path = write(tmp_path / "locon.safetensors", state)
    merged, beside = (apply(host, path, unet, method, 0.7) for method in ("merge", "bypass"))
    assert {layer.method for layer in beside.report.layers} == {"bypass"}
    assert any(module.stride == (2, 2) for module in modules.values())

    def evaluate(patcher: Any) -> torch.Tensor:
        noise = torch.Generator().manual_seed(5)
        conditioning = [[torch.randn(1, 6, 32, generator=noise), {}]]
        guider = host.samplers.CFGGuider(patcher)
        guider.set_conds(conditioning, conditioning)
        guider.set_cfg(1.0)
        start, sigmas = torch.randn(1, 4, 16, 16, generator=noise), torch.tensor([1.0, 0.6, 0.0])
        sampler = host.samplers.sampler_object("euler")
        with torch.inference_mode():
            return guider.sample(start, torch.zeros_like(start), sampler, sigmas, seed=0, disable_pbar=True)

    expected = evaluate(merged.model)
    assert relative(expected, evaluate(unet)) > 1e-3
    assert relative(evaluate(beside.model), expected) < ROUNDING


def test_auto_knows_what_is_loaded_and_what_would_have_to_be_staged(host: Any, model: Any, lora_path: str) -> None:
    from pack.nodes.host.apply import method_choice as method_select
    from pack.nodes.host.apply.lora_cache import LORA_CACHE
    from pack.nodes.host.apply.plan import MATCHES, plan_patches

    lora, keys = LORA_CACHE.load(lora_path, "a"), MATCHES.model_keys(model, None)

    def to_stage(blocks: str) -> tuple[int | None, int]:
        return method_select._to_stage(plan_patches(lora, keys, 1.0, 0.0, blocks, False), keys, model)

    sample(host, model)
    everything, back = to_stage("")
    assert everything
    assert back == 0
    sample(host, apply(host, lora_path, model, "merge").model)
    assert to_stage("") == (0, everything)
    one, back = to_stage("single_blocks.0=0.5")
    assert one is not None
    assert 0 < one < everything / 2
    assert back == everything
    sample(host, host.sd.load_lora_for_models(model, None, host.utils.load_torch_file(lora_path), 0.5, 0.0)[0])
    assert to_stage("")[0] is None


def glora_slices(folder: Path) -> str:
    """A GLoRA on each third of a fused weight, by the names of diffusers."""
    g = torch.Generator().manual_seed(4)
    state: dict[str, torch.Tensor] = {}
    for part in ("to_q", "to_v"):
        shapes = {"a1": (128, 4), "a2": (4, 128), "b1": (128, 4), "b2": (4, 128)}
        name = f"transformer.transformer_blocks.0.attn.{part}"
        state |= {f"{name}.{role}.weight": torch.randn(s, generator=g) * 0.08 for role, s in shapes.items()}
    return write(folder / "slices.safetensors", state)


def test_a_glora_on_a_part_of_a_fused_weight_changes_that_part_only(host: Any, model: Any, tmp_path: Path) -> None:
    path = glora_slices(tmp_path)
    merged, beside = (apply(host, path, model, method) for method in ("merge", "bypass"))
    assert {layer.slice for layer in merged.report.layers} == {(0, 0, 128), (0, 256, 128)}
    expected = sample(host, merged.model)
    assert relative(expected, sample(host, model)) > 1e-3
    assert relative(sample(host, beside.model), expected) < ROUNDING
    assert all("one input for all" in layer.reason for layer in beside.report.layers)


def test_auto_builds_no_difference_before_it_chooses(
    host: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole difference is as large as its weight, and in float32 twice that: all of them would fill the memory."""
    from pack.nodes.host.bypass import terms

    built: list[str] = []
    whole = terms.whole_delta

    def counted(value: Any, shape: Any, function: Any, key: str) -> torch.Tensor:
        built.append(key)
        return whole(value, shape, function, key)

    monkeypatch.setattr(terms, "whole_delta", counted)
    path = adapter_file("diff", tmp_path, SIZES)
    chosen = apply(host, path, model, "auto")
    assert (chosen.model.patches != {}, built) == (True, [])
    beside = apply(host, path, model, "bypass").model
    stack = host.bypass.bypass_stack(beside)
    assert sorted(built) == sorted(term.model_key for term in stack.terms)
    kept = [value for term in stack.terms for value in vars(term.beside.outline).values()]
    assert {tensor.device.type for tensor in kept if isinstance(tensor, torch.Tensor)} == {"meta"}


