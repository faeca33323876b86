"""Check LoRA against the real ComfyUI: what it says lands is what a real application changes, with each loader."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_shapes, flux2_state_dict, kohya_lora, native_lora, write
from support import one_of_each, some
from writer_files import kind_of_file

pytestmark = pytest.mark.host
REAL_LORAS = Path(__file__).resolve().parents[4] / "shared" / "data" / "loras"
NANO = {"hidden": 128, "double": 2, "single": 3, "context": 192}
KLEIN_4B = {"hidden": 3072, "double": 5, "single": 20, "context": 7680}
KLEIN_9B = {"hidden": 4096, "double": 8, "single": 24, "context": 12288}
State = dict[str, torch.Tensor]
Region = tuple[str, tuple[int, int, int] | None]


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules and the parts of ComfyUI that the tests compare them with."""
    import comfy.sd
    import comfy.utils
    from pack.nodes.core.report import report
    from pack.nodes.core.report import text as report_text
    from pack.nodes.host.apply import apply
    from pack.nodes.host.inspect import check

    return types.SimpleNamespace(
        sd=comfy.sd, utils=comfy.utils, State=report.LayerState, Level=report.Level, apply=apply.apply_lora,
        check=check.check_lora, text=report_text.report_text,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**NANO))


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


def pair(prefix: str, rows: int, columns: int, rank: int = 1) -> State:
    """One LoRA layer with PEFT's suffixes."""
    return {
        f"{prefix}.lora_A.weight": torch.full((rank, columns), 0.01),
        f"{prefix}.lora_B.weight": torch.full((rows, rank), 0.01),
    }


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


def changed(model: Any, patched: Any) -> dict[str, torch.Tensor]:
    """Which elements of which weights a real application changes."""
    import comfy.lora

    masks = {}
    for key, patches in patched.patches.items():
        weight = model.model_state_dict(key)[key].float()
        masks[key] = comfy.lora.calculate_weight(patches, weight.clone(), key, torch.float32) != weight
    return {key: mask for key, mask in masks.items() if bool(mask.any())}


def touches(masks: dict[str, torch.Tensor], layer: Any) -> bool:
    mask = masks.get(layer.model_key)
    if mask is None:
        return False
    return bool((mask if layer.slice is None else mask.narrow(*layer.slice)).any())


def assert_columns_are_true(host: Any, model: Any, path: str) -> Any:
    """Both columns of the report against a real application with each loader."""
    checked = host.check(path, "x.safetensors", model, None)
    layers = checked.report.layers
    ours = changed(model, host.apply(path, "x.safetensors", model, None, 1.0, 0.0, "").model)
    stock = changed(model, host.sd.load_lora_for_models(model, None, host.utils.load_torch_file(path), 1.0, 0.0)[0])
    for layer in layers:
        assert (layer.state is host.State.APPLIED) == touches(ours, layer), layer
        if layer.model_key:
            assert (layer.stock is host.State.APPLIED) == touches(stock, layer), layer
    assert {layer.model_key for layer in layers if layer.state is host.State.APPLIED} == set(ours)
    nameless = any(layer.stock is host.State.APPLIED and not layer.model_key for layer in layers)
    named = {layer.model_key for layer in layers if layer.stock is host.State.APPLIED and layer.model_key}
    assert named <= set(stock) if nameless else named == set(stock)
    assert all(layer.reason for layer in layers if layer.state is not host.State.APPLIED)
    assert all(layer.stock_reason for layer in layers if layer.stock is not host.State.APPLIED)
    assert host.text(checked.report)
    return checked


@pytest.mark.skipif(not REAL_LORAS.is_dir(), reason="the shared LoRA files are not here")
@pytest.mark.parametrize(
    "path",
    one_of_each(sorted(REAL_LORAS.glob("*.safetensors")), lambda path: kind_of_file(path.stem)),
    ids=lambda path: path.stem,
)
def test_files_of_real_tools_land_where_the_report_says(host: Any, model: Any, path: Path) -> None:
    assert_columns_are_true(host, model, str(path))


def _with(state: State, change: Callable[[State], State]) -> State:
    return change(dict(state))


def _text_encoder(state: State) -> State:
    return state | pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 8, 8)


def _dead(state: State) -> State:
    state["diffusion_model.double_blocks.1.img_mlp.0.lora_B.weight"] = torch.zeros(768, 4)
    return state


def _partial(state: State) -> State:
    del state["diffusion_model.single_blocks.1.linear1.lora_B.weight"]
    return state


def _half_converted(state: State) -> State:
    return {key.replace("_attn.qkv", "_attn_qkv").replace("_mlp.0", "_mlp_0"): value for key, value in state.items()}


def _reshaped(state: State) -> State:
    """As many elements as the weight, in another shape: ComfyUI's reshape takes it."""
    prefix = "diffusion_model.double_blocks.0.img_attn.proj"
    return {key: value for key, value in state.items() if not key.startswith(prefix)} | pair(prefix, 256, 64)


def _wrong_kinds(state: State) -> State:
    base = "diffusion_model.single_blocks"
    return state | {
        f"{base}.0.linear1.lokr_w1": torch.ones(3, 4), f"{base}.0.linear1.lokr_w2": torch.ones(5, 6),
        f"{base}.1.linear2.oft_blocks": torch.full((3, 4, 4), 0.1),
        f"{base}.2.linear2.diff": torch.ones(5, 5),
        "diffusion_model.img_in.hada_w1_a": torch.ones(64, 2), "diffusion_model.img_in.hada_w1_b": torch.ones(2, 32),
        "diffusion_model.img_in.hada_w2_a": torch.ones(64, 2), "diffusion_model.img_in.hada_w2_b": torch.ones(2, 32),
        "diffusion_model.txt_in.diff_b": torch.ones(128),
        "diffusion_model.time_in.in_layer.set_weight": torch.ones(128, 256),
    }  # fmt: skip


SELF_MADE: dict[str, Callable[[], State]] = {
    "native": lambda: native_lora(**NANO),
    "kohya": lambda: kohya_lora(**NANO),
    "bare": lambda: {k.removeprefix("diffusion_model."): v for k, v in native_lora(**NANO).items()},
    "peft": lambda: {k.replace("diffusion_model.", "base_model.model."): v for k, v in native_lora(**NANO).items()},
    "text encoder": lambda: _with(native_lora(**NANO), _text_encoder),
    "dead": lambda: _with(native_lora(**NANO), _dead),
    "partial": lambda: _with(native_lora(**NANO), _partial),
    "half converted": lambda: _with(native_lora(**NANO), _half_converted),
    "reshaped": lambda: _with(native_lora(**NANO), _reshaped),
    "wrong kinds": lambda: _with({}, _wrong_kinds),
    "wide": lambda: native_lora(hidden=256, double=2, single=3, context=192),
    "deep": lambda: native_lora(hidden=128, double=4, single=6, context=192),
}


@pytest.mark.parametrize("name", SELF_MADE)
def test_self_made_files_land_where_the_report_says(host: Any, model: Any, tmp_path: Path, name: str) -> None:
    assert_columns_are_true(host, model, write(tmp_path / "x.safetensors", SELF_MADE[name]()))


def check_state(host: Any, model: Any, tmp_path: Path, state: State, metadata: dict[str, str] | None = None) -> Any:
    return host.check(write(tmp_path / "x.safetensors", state, metadata), "x.safetensors", model, None)


def test_a_file_that_fits(host: Any, model: Any, tmp_path: Path) -> None:
    checked = check_state(host, model, tmp_path, native_lora(**NANO))
    assert checked.verdict.fits
    assert checked.verdict.coverage == pytest.approx(1.0)
    assert checked.report.verdict == "fits"
    assert checked.report.level is host.Level.OK
    assert "all 22 layers land" in checked.report.summary


def test_coverage_is_energy_and_not_a_count(host: Any, model: Any, tmp_path: Path) -> None:
    state = native_lora(**NANO)
    state |= {key: value * 100 for key, value in pair("diffusion_model.nothing.there", 64, 64).items()}
    checked = check_state(host, model, tmp_path, state)
    landed = sum(layer.delta_norm**2 for layer in checked.report.layers if layer.state is host.State.APPLIED)
    lost = 64.0**2  # |1 x 1^T| of 64 x 64
    assert checked.verdict.coverage == pytest.approx(landed / (landed + lost), rel=1e-5)
    assert checked.report.verdict == "fits in part"
    assert not checked.verdict.fits
    assert "22 of its 23 layers" in checked.report.summary


def test_a_text_encoder_part_without_a_clip_waits(host: Any, model: Any, tmp_path: Path) -> None:
    checked = check_state(host, model, tmp_path, SELF_MADE["text encoder"]())
    assert checked.verdict.fits
    assert checked.report.level is host.Level.WARNING
    assert checked.verdict.coverage < 1
    assert "Connect a CLIP" in checked.report.advice
    assert any("no CLIP is connected" in note for note in checked.report.notes)


def test_a_dead_layer_is_named_and_changes_no_coverage(host: Any, model: Any, tmp_path: Path) -> None:
    checked = check_state(host, model, tmp_path, SELF_MADE["dead"]())
    assert checked.verdict.fits
    assert checked.verdict.coverage == pytest.approx(1.0)
    assert any("1 layers are dead" in note for note in checked.report.notes)


def test_a_partial_file_is_called_incomplete(host: Any, model: Any, tmp_path: Path) -> None:
    checked = check_state(host, model, tmp_path, SELF_MADE["partial"]())
    assert checked.report.verdict == "fits in part"
    assert "incomplete" in checked.report.advice
    broken = [layer for layer in checked.report.layers if layer.state is host.State.NOT_UNDERSTOOD]
    assert [layer.lora_key for layer in broken] == ["diffusion_model.single_blocks.1.linear1"]


def test_a_spelling_that_the_stock_loader_does_not_know_is_said(host: Any, model: Any, tmp_path: Path) -> None:
    checked = check_state(host, model, tmp_path, SELF_MADE["peft"]())
    assert checked.verdict.fits
    assert {layer.stock for layer in checked.report.layers} == {host.State.NO_SUCH_LAYER}
    assert any("ComfyUI's own LoRA loader would leave out 22" in note for note in checked.report.notes)


def test_a_shape_that_only_the_stock_loader_takes_differs(host: Any, model: Any, tmp_path: Path) -> None:
    checked = check_state(host, model, tmp_path, SELF_MADE["reshaped"]())
    odd = [layer for layer in checked.report.layers if layer.layer == "img_attn.proj" and layer.block.endswith("s.0")]
    assert [(layer.state, layer.stock) for layer in odd] == [(host.State.SHAPE_MISMATCH, host.State.APPLIED)]


# --- full-size models, without a weight in memory ---------------------------------------------------------


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


# --- the node -------------------------------------------------------------------------------------------


@pytest.fixture
def run_node(pack_nodes: dict[str, Any], model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs Check LoRA on a state dict as ComfyUI would."""
    import folder_paths

    def run(state: State, when_unfit: str) -> Any:
        path = write(tmp_path / "x.safetensors", state)
        monkeypatch.setattr(folder_paths, "get_full_path", lambda *_: path)
        return pack_nodes["PatchbayCheckLora"].execute(model, "x.safetensors", when_unfit)

    return run


def test_the_node_gives_fits_coverage_report_and_text(run_node: Any) -> None:
    fits, coverage, report, text = run_node(native_lora(**NANO), "stop the run").args
    assert fits is True
    assert coverage == pytest.approx(1.0)
    assert report.kind == "check"
    assert "With each loader:" in text


def test_stop_raises_the_sentence(run_node: Any) -> None:
    with pytest.raises(ValueError, match=r"x\.safetensors does not fit FLUX\.2.*Look for|Use it with"):
        run_node(native_lora(hidden=256), "stop the run")


def test_the_node_can_stop_on_doubts(run_node: Callable[..., Any]) -> None:
    dead = {key: tensor * 0 if "lora_B" in key else tensor for key, tensor in native_lora(**NANO).items()}
    fits, _, report, text = run_node(dead, "stop the run").args
    assert fits
    assert [doubt.id for doubt in report.doubts] == ["all_zero"]
    assert report.level.value == "warning"
    assert "Doubt (all_zero)" in text
    with pytest.raises(Exception, match="all zero"):
        run_node(dead, "stop the run, also on doubts")
    assert run_node(native_lora(**NANO), "stop the run, also on doubts").args[0]


def test_a_replacement_of_another_shape_needs_a_newer_comfyui(host: Any, model: Any, tmp_path: Path) -> None:
    from pack.nodes.host.match.dry_run import sets_another_shape

    state = {"diffusion_model.img_in.set_weight": torch.ones(256, 128)}
    checked = check_state(host, model, tmp_path, {**state, **pair("diffusion_model.single_blocks.0.linear2", 128, 512)})
    by_key = {layer.lora_key: layer for layer in checked.report.layers}
    replaced = by_key["diffusion_model.img_in"]
    if sets_another_shape():
        assert replaced.state is host.State.APPLIED
    else:
        assert replaced.state is host.State.SHAPE_MISMATCH
        assert "too old for this" in replaced.reason


def test_a_plain_weight_replaces_the_models_own(host: Any, model: Any, tmp_path: Path) -> None:
    linear = {**pair("double_blocks.0.img_attn.proj", 128, 128), "img_in.weight": torch.ones(128, 128)}
    linear["nothing.of.that.name.weight"] = torch.ones(4)
    checked = check_state(host, model, tmp_path, linear)
    states = {layer.lora_key: (layer.state, layer.format) for layer in checked.report.layers}
    assert states["img_in"] == (host.State.APPLIED, "set")
    assert states["nothing.of.that.name"][0] is host.State.NOT_UNDERSTOOD
    assert checked.verdict.fit.value == "fits in part"



@pytest.mark.parametrize(("mode", "lines"), [("warn", 1), ("report only", 0)])
def test_warn_logs_and_report_only_does_not(
    run_node: Any, caplog: pytest.LogCaptureFixture, mode: str, lines: int
) -> None:
    result = run_node(native_lora(hidden=256), mode)
    assert result.args[0] is False
    assert sum("does not fit" in record.getMessage() for record in caplog.records) == lines
