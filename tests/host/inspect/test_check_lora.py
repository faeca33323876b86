"""Check LoRA against the real ComfyUI: what it says lands is what a real application changes, with each loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from check_support import NANO, SELF_MADE, State, check_state, pair
from nano_models import flux2_state_dict, native_lora, write
from support import one_of_each
from writer_files import kind_of_file

pytestmark = pytest.mark.host
REAL_LORAS = Path(__file__).resolve().parents[4] / "shared" / "data" / "loras"
Region = tuple[str, tuple[int, int, int] | None]


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**NANO))


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


@pytest.mark.parametrize("name", SELF_MADE)
def test_self_made_files_land_where_the_report_says(host: Any, model: Any, tmp_path: Path, name: str) -> None:
    assert_columns_are_true(host, model, write(tmp_path / "x.safetensors", SELF_MADE[name]()))


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
