"""Check LoRA on models of full size, without a weight in memory: files of other sizes and of other architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from check_support import State, check_state, pair
from nano_models import flux2_shapes, kohya_lora, native_lora, write
from support import some

pytestmark = pytest.mark.host
KLEIN_4B = {"hidden": 3072, "double": 5, "single": 20, "context": 7680}
KLEIN_9B = {"hidden": 4096, "double": 8, "single": 24, "context": 12288}


def meta_model(host: Any, shapes: dict[str, tuple[int, ...]]) -> Any:
    """A model of any size without a weight in memory."""
    import comfy.model_detection
    import comfy.model_patcher

    state = {f"diffusion_model.{key}": torch.empty(shape, device="meta") for key, shape in shapes.items()}
    config = comfy.model_detection.model_config_from_unet(state, "diffusion_model.")
    config.set_inference_dtype(torch.bfloat16, None)
    loaded = config.get_model(state, "diffusion_model.", device=torch.device("meta"))
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(loaded, load_device=cpu, offload_device=cpu)


@pytest.fixture(scope="module")
def klein_4b(host: Any) -> Any:
    return meta_model(host, flux2_shapes(**KLEIN_4B))


@pytest.fixture(scope="module")
def klein_9b(host: Any) -> Any:
    return meta_model(host, flux2_shapes(**KLEIN_9B))


def flux1_diffusers(attention_only: bool = True, double: int = 19, single: int = 38) -> State:
    """A FLUX.1 LoRA as diffusers saves it."""
    h = 3072
    state: State = {}
    for index in range(double):
        for layer in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
            state |= pair(f"transformer.transformer_blocks.{index}.attn.{layer}", h, h)
        if not attention_only:
            state |= pair(f"transformer.transformer_blocks.{index}.ff.net.0.proj", 4 * h, h)
            state |= pair(f"transformer.transformer_blocks.{index}.ff.net.2", h, 4 * h)
    for index in range(single):
        for layer in ("to_q", "to_k", "to_v"):
            state |= pair(f"transformer.single_transformer_blocks.{index}.attn.{layer}", h, h)
        if not attention_only:
            state |= pair(f"transformer.single_transformer_blocks.{index}.proj_mlp", 4 * h, h)
            state |= pair(f"transformer.single_transformer_blocks.{index}.proj_out", h, 5 * h)
    return state


def states(checked: Any) -> dict[str, int]:
    return checked.report.counts


def test_a_klein_4b_lora_fits_klein_4b_and_says_how_to_sample(host: Any, klein_4b: Any, tmp_path: Path) -> None:
    checked = check_state(host, klein_4b, tmp_path, native_lora(rank=1, **KLEIN_4B))
    assert states(checked) == {"applied": 80}
    assert checked.verdict.fits
    assert checked.verdict.coverage == pytest.approx(1.0)
    assert checked.report.model.architecture == "FLUX.2 Klein 4B"
    assert any("4 steps at CFG 1" in note for note in checked.report.notes)
    assert {layer.stock for layer in checked.report.layers} == {host.State.APPLIED}


def test_a_lora_of_the_base_model_fits_the_distilled_one(host: Any, klein_4b: Any, tmp_path: Path) -> None:
    metadata = {"ss_base_model_version": "flux2_klein_base_4b"}
    checked = check_state(host, klein_4b, tmp_path, native_lora(rank=1, **KLEIN_4B), metadata)
    assert checked.verdict.fits
    assert any("Trained on a base model" in note for note in checked.report.notes)


@pytest.mark.parametrize("style", ["native", "kohya"])
def test_a_4b_lora_on_9b_lands_nowhere_by_shape(host: Any, klein_9b: Any, tmp_path: Path, style: str) -> None:
    make = native_lora if style == "native" else kohya_lora
    checked = check_state(host, klein_9b, tmp_path, make(rank=1, **KLEIN_4B))
    assert states(checked) == {"shape_mismatch": 80}
    assert checked.verdict.coverage == 0.0
    assert checked.report.level is host.Level.ERROR
    assert "made for FLUX.2 Klein 4B" in checked.report.summary
    assert "FLUX.2 Klein 9B" in checked.report.advice
    assert any("hidden size of 3072" in note for note in checked.report.notes)
    assert {layer.stock for layer in checked.report.layers} == {host.State.SHAPE_MISMATCH}


def test_a_9b_lora_on_4b_lands_nowhere(host: Any, klein_4b: Any, tmp_path: Path) -> None:
    checked = check_state(host, klein_4b, tmp_path, native_lora(rank=1, **KLEIN_9B))
    assert states(checked) == {"no_such_layer": 3 * 8 + 4 * 2, "shape_mismatch": 80}
    assert "made for FLUX.2 Klein 9B" in checked.report.summary
    assert any("double_blocks up to 7" in note for note in checked.report.notes)


def test_flux1_attention_on_klein_4b_is_caught_though_it_lands(host: Any, klein_4b: Any, tmp_path: Path) -> None:
    checked = check_state(host, klein_4b, tmp_path, flux1_diffusers())
    assert states(checked) == {"applied": 100, "wrong_architecture": 166}
    assert checked.verdict.coverage == pytest.approx(100 / 266, rel=1e-4)
    assert not checked.verdict.fits
    assert checked.report.verdict == "does not fit"
    assert "made for FLUX.1" in checked.report.summary
    assert "100 of its 266 layers" in checked.report.summary
    landing = [layer for layer in checked.report.layers if layer.state is host.State.APPLIED]
    assert all("the file is made for FLUX.1" in layer.reason for layer in some(landing))
    assert {layer.stock for layer in landing} == {host.State.APPLIED}
    assert any("has 5 of them" in note for note in checked.report.notes)


def test_flux1_mlp_that_tears_the_gated_one_is_named(host: Any, klein_4b: Any, tmp_path: Path) -> None:
    checked = check_state(host, klein_4b, tmp_path, flux1_diffusers(attention_only=False))
    torn = [layer for layer in checked.report.layers if "tears the mlp part" in layer.stock_reason]
    assert len(torn) == 20
    assert "rows 9216-21503" in torn[0].stock_reason
    assert "rows 9216-27647" in torn[0].stock_reason
    assert {layer.stock for layer in torn} == {host.State.APPLIED}
    assert {layer.state for layer in torn} == {host.State.WRONG_ARCHITECTURE}
    assert any("would apply 20 layers that Apply LoRA (Patchbay) leaves out" in note for note in checked.report.notes)


def test_flux1_with_native_names_is_caught(host: Any, klein_4b: Any, tmp_path: Path) -> None:
    h = 3072
    state: State = {}
    for index in range(19):
        for stream in ("img", "txt"):
            block = f"lora_unet_double_blocks_{index}_{stream}"
            for layer, rows, columns in (("attn_qkv", 3 * h, h), ("attn_proj", h, h), ("mlp_0", 4 * h, h),
                                         ("mlp_2", h, 4 * h), ("mod_lin", 6 * h, h)):  # fmt: skip
                state |= pair(f"{block}_{layer}", rows, columns)
    checked = check_state(host, klein_4b, tmp_path, state)
    assert states(checked) == {"applied": 20, "wrong_architecture": 170}
    assert any("its MLP is gated: 6 x hidden rows, FLUX.1 has 4 x" in note for note in checked.report.notes)
    reasons = {layer.reason for layer in checked.report.layers if layer.state is host.State.WRONG_ARCHITECTURE}
    assert any("12288 x 3072" in reason for reason in reasons)  # its own reason stays


def test_apply_warns_of_a_foreign_file_and_applies_it_all_the_same(host: Any, klein_4b: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", flux1_diffusers())
    result = host.apply(path, "x.safetensors", klein_4b, None, 1.0, 0.0, "")
    assert result.report.counts["applied"] == 100
    assert result.report.notes[0].startswith("Wrong architecture: the file is made for FLUX.1")
    assert result.report.level is host.Level.WARNING
