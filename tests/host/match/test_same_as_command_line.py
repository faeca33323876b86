"""``lora-patchbay check`` from two headers against Check LoRA on the loaded model: the same fate for every layer."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from check_support import NANO, SELF_MADE
from nano_models import flux2_state_dict, kohya_lora, native_lora, write
from support import one_of_each
from writer_files import TOOL_FILES, kind_of_file, write_tool_file

pytestmark = pytest.mark.host
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
LORAS = sorted((DATA / "loras").glob("*.safetensors"))
MODELS = ("nano/nano_2x3_bfl_f32", "nano/klein4b_topology_5x20_bfl_bf16", "quant/nano_2x3_nvfp4", "quant/nano_2x3_fp8")
needs_data = pytest.mark.skipif(not LORAS, reason="the shared LoRA files are not here")


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """Both ways to check, and what they say."""
    import comfy.sd
    from pack.nodes.core.check import files as file_check
    from pack.nodes.core.check import model_file
    from pack.nodes.core.report import report
    from pack.nodes.host.inspect import check, ran_models

    return types.SimpleNamespace(
        sd=comfy.sd, State=report.LayerState, check=check.check_lora, check_file=file_check.check_file,
        read=model_file.read_model_file, RanModels=ran_models.RanModels,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pairs(host: Any) -> Any:
    """A loaded model and the same model as a file, by name; one at a time."""
    known: dict[str, Any] = {}

    def pair(path: Path) -> Any:
        if path.name not in known:
            known.clear()
            known[path.name] = host.sd.load_diffusion_model(str(path)), host.read(path)
        return known[path.name]

    return pair


def assert_same(host: Any, pair: Any, lora: str) -> None:
    """Verdict, sentence, and state, place and reason of every layer; norms where the file alone gives one."""
    model, file = pair
    loaded = host.check(lora, Path(lora).name, model, None)
    for measure in (True, False):
        found = host.check_file(lora, file, measure)
        layers, expected = (
            {(x.lora_key, x.model_key, x.slice, x.format): x for x in checked.report.layers}
            for checked in (found, loaded)
        )
        assert set(layers) == set(expected)
        for key, layer in layers.items():
            theirs = expected[key]
            if not measure and theirs.state is host.State.DEAD:
                assert layer.state in (host.State.APPLIED, host.State.DEAD)  # a header alone does not tell
                continue
            assert layer.state is theirs.state, key
            assert (layer.block, layer.layer, layer.rank, layer.scale) == (
                theirs.block, theirs.layer, theirs.rank, theirs.scale,
            )  # fmt: skip
            if layer.state is host.State.SHAPE_MISMATCH:
                assert layer.reason  # of OFT, ComfyUI's tensors tell less than the shapes in the header
            elif layer.state is not host.State.APPLIED:
                assert layer.reason == theirs.reason
            if measure and layer.delta_norm is not None and theirs.delta_norm is not None:
                assert layer.delta_norm == pytest.approx(theirs.delta_norm, rel=1e-4, abs=1e-12)
            assert (layer.delta_norm is None) == bool(layer.not_measured)
        if measure:
            assert found.verdict.fit is loaded.verdict.fit
            assert found.report.advice == loaded.report.advice
            if found.verdict.measured and loaded.verdict.measured:
                assert found.verdict.coverage == pytest.approx(loaded.verdict.coverage, abs=1e-5)
                one, other = (x.report.model.architecture for x in (found, loaded))
                assert found.report.summary == loaded.report.summary.replace(other, one)


@needs_data
@pytest.mark.parametrize("lora", one_of_each(LORAS, lambda path: kind_of_file(path.stem)), ids=lambda path: path.stem)
@pytest.mark.parametrize("name", MODELS)
def test_files_of_real_tools(host: Any, pairs: Any, name: str, lora: Path) -> None:
    assert_same(host, pairs(DATA / f"{name}.safetensors"), str(lora))


FIELD = DATA / "field"
CASES = json.loads((FIELD / "expected.json").read_text()) if FIELD.exists() else {}
ONE_A_KIND = frozenset({
    "krea2_fused_qkv_lokr_does_not_divide", "krea2_fused_qkv_dokr", "h3_diffusers_split",
    "h3_diffsynth_interleaved_qkv", "hv_onetrainer_diffusers", "unknown_leftovers", "ace15_lycoris_lokr",
    "anima_with_text_encoder_kohya",
})  # fmt: skip


def _field_cases() -> list[Any]:
    """Files whose model loads everywhere, the models in turn; all but one a kind are for the layer all."""
    names = [name for name, case in CASES.items() if case["model_file"].startswith("models/")]
    names = [name for name in names if "0.30.0" in CASES[name]["loads_in"]]
    names.sort(key=lambda name: CASES[name]["model_file"])
    return [pytest.param(n, marks=() if n in ONE_A_KIND else pytest.mark.all) for n in names]


@pytest.mark.skipif(not CASES, reason="the shared LoRA files are not here")
@pytest.mark.parametrize("name", _field_cases())
def test_files_of_the_field(host: Any, pairs: Any, tmp_path: Path, name: str) -> None:
    lora = FIELD / "loras" / f"{name}.safetensors"
    beside = lora.with_name(f"{name}.adapter_config.json")
    if beside.exists():
        shutil.copy(beside, tmp_path / "adapter_config.json")
        lora = Path(shutil.copy(lora, tmp_path))
    assert_same(host, pairs(FIELD / CASES[name]["model_file"]), str(lora))


@pytest.fixture(scope="module")
def made(host: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A nano model made here, loaded and as a file."""
    path = write(tmp_path_factory.mktemp("model") / "nano.safetensors", flux2_state_dict(**NANO))
    return host.sd.load_diffusion_model(path), host.read(path)


def test_a_model_of_a_run_is_judged_as_its_file(host: Any, made: Any, tmp_path: Path) -> None:
    """What the page asks of a model that no file on the canvas names; nothing is kept that nobody read."""
    loaded, file = made
    fresh = host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=2, **NANO))
    ran = host.RanModels(2)
    ran.keep("fresh", fresh)
    assert ran.get("fresh") is None
    lora = write(tmp_path / "x.safetensors", native_lora(**NANO))
    host.check(lora, "x", loaded, None)
    for source in ("a", "b", "c"):
        ran.keep(source, loaded)
    ran.keep("", loaded)
    assert ran.get("a") is None, "only the last ones are kept"
    model = ran.get("c")
    assert model.shapes == file.shapes
    assert_same(host, (loaded, model), lora)


@pytest.mark.parametrize("name", SELF_MADE)
def test_self_made_files(host: Any, made: Any, tmp_path: Path, name: str) -> None:
    assert_same(host, made, write(tmp_path / "x.safetensors", SELF_MADE[name]()))


@pytest.fixture(scope="module")
def wide(host: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of the width that the tools' own model has: its weights, loaded, and as a file."""
    bfl = flux2_state_dict(seed=4, hidden=128, double=2, single=3)
    path = write(tmp_path_factory.mktemp("model") / "wide.safetensors", dict(bfl))
    return bfl, (host.sd.load_diffusion_model(path), host.read(path))


ALL_BUT_ONE = [pytest.param(name, marks=() if name == "lycoris_lokr" else pytest.mark.all) for name in TOOL_FILES]


@pytest.mark.parametrize("name", ALL_BUT_ONE)
def test_files_that_the_tools_write(host: Any, wide: Any, tmp_path: Path, name: str) -> None:
    """And a healthy file raises no doubt, either way."""
    for tool in ("peft", "diffusers", "lycoris"):
        pytest.importorskip(tool)
    bfl, pair = wide
    path, _ = write_tool_file(name, tmp_path / "tool", bfl)
    assert_same(host, pair, path)
    for checked in (host.check_file(path, pair[1], True), host.check(path, name, pair[0], None)):
        assert checked.verdict.doubts == ()


def _dead(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: torch.zeros_like(value) if "lora_B" in key else value for key, value in state.items()}


@pytest.mark.parametrize("alpha", [2.0, 0.0])
def test_alpha_in_any_dtype(host: Any, made: Any, tmp_path: Path, alpha: float) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64):
        state = kohya_lora(**NANO, alpha=alpha)
        state = {key: value.to(dtype) if key.endswith("alpha") else value for key, value in state.items()}
        assert_same(host, made, write(tmp_path / f"{str(dtype)[6:]}.safetensors", state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_norms_in_any_dtype(host: Any, made: Any, tmp_path: Path, dtype: torch.dtype) -> None:
    state = {key: value.to(dtype) for key, value in native_lora(rank=8, **NANO).items()}
    assert_same(host, made, write(tmp_path / "x.safetensors", state))


def test_a_dead_file(host: Any, made: Any, tmp_path: Path) -> None:
    assert_same(host, made, write(tmp_path / "x.safetensors", _dead(native_lora(**NANO))))


def test_a_checkpoint_is_read_like_its_model(host: Any, made: Any, tmp_path: Path) -> None:
    state = {f"model.diffusion_model.{key}": value for key, value in flux2_state_dict(**NANO).items()}
    state["first_stage_model.decoder.conv_in.weight"] = torch.zeros(4, 4, 3, 3)
    file = host.read(write(tmp_path / "checkpoint.safetensors", state))
    assert file.shapes == made[1].shapes
    assert_same(host, (made[0], file), write(tmp_path / "x.safetensors", native_lora(**NANO)))


@pytest.mark.parametrize("name", ["nano_2x3_Q4_0.gguf", "nano_2x3_Q8_0.gguf", "nano_2x3_mxfp8.safetensors"])
@needs_data
def test_quantised_files_hold_the_same_model(host: Any, name: str) -> None:
    plain = host.read(DATA / "nano" / "nano_2x3_bfl_f32.safetensors")
    assert host.read(DATA / "quant" / name).shapes == plain.shapes
