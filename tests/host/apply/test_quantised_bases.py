"""Quantised models: what cannot land is never touched, what merging loses is measured, and bypass loses nothing."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import native_lora, write

pytestmark = pytest.mark.host
QUANTISED = Path(__file__).resolve().parents[4] / "shared" / "data" / "quant"
SIZES = {"hidden": 128, "double": 2, "single": 3}
FILES = ("fp8", "fp8_unscaled_cast", "int8", "mxfp8", "nvfp4")

if not QUANTISED.is_dir():
    pytest.skip("the shared quantised models are not here", allow_module_level=True)


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules and ComfyUI's loaders."""
    import comfy.model_management
    import comfy.sd
    import comfy.utils
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply

    return types.SimpleNamespace(
        sd=comfy.sd, utils=comfy.utils, State=report.LayerState, Level=report.Level, apply=apply.apply_lora,
        management=comfy.model_management,
    )  # fmt: skip


@pytest.fixture(scope="module", params=FILES)
def model(request: pytest.FixtureRequest, host: Any) -> Any:
    from comfy.quant_ops import QUANT_ALGOS

    kind = {"int8": "int8_tensorwise", "mxfp8": "mxfp8", "nvfp4": "nvfp4"}.get(request.param)
    if kind is not None and kind not in QUANT_ALGOS:
        pytest.skip(f"this ComfyUI does not know {kind}")
    options = {"dtype": torch.float8_e4m3fn} if request.param == "fp8_unscaled_cast" else {}
    return host.sd.load_diffusion_model(str(QUANTISED / f"nano_2x3_{request.param}.safetensors"), model_options=options)


def numbers(host: Any, model: Any, key: str) -> torch.Tensor:
    """A weight as it lies in the model right now, dequantised."""
    weight = host.utils.get_attr(model.model, key)
    if type(weight) not in (torch.Tensor, torch.nn.Parameter):
        weight = weight.dequantize()
    return weight.detach().float().clone()


def apply(host: Any, path: str, model: Any, method: str = "merge", strength: float = 1.0, steps: int = 4) -> Any:
    return host.apply(path, Path(path).name, model, None, strength, 0.0, "", method=method, steps=steps)


def loaded(host: Any, patcher: Any, keys: list[str]) -> dict[str, torch.Tensor]:
    """The weights while ``patcher`` is the loaded one."""
    with torch.no_grad():
        host.management.load_models_gpu([patcher])
    return {key: numbers(host, patcher, key) for key in keys}


def test_mismatched_and_dead_layers_stay_bit_identical(host: Any, model: Any, tmp_path: Path) -> None:
    state = native_lora(**SIZES)
    names = sorted({key.rsplit(".lora_", 1)[0] for key in state})
    dead, wide, fine = names[0], names[1], names[2]
    state = {key: tensor for key, tensor in state.items() if key.startswith((dead + ".", wide + ".", fine + "."))}
    state[f"{dead}.lora_B.weight"].zero_()
    state[f"{wide}.lora_A.weight"] = torch.randn(4, 192)
    path = write(tmp_path / "odd.safetensors", state)
    keys = [f"{name}.weight" for name in (dead, wide, fine)]
    before = loaded(host, model, keys)
    result = apply(host, path, model)
    states = {layer.model_key: layer.state for layer in result.report.layers}
    assert [states[key] for key in keys] == [host.State.DEAD, host.State.SHAPE_MISMATCH, host.State.APPLIED]
    assert list(result.model.patches) == [keys[2]]
    after = loaded(host, result.model, keys)
    assert torch.equal(after[keys[0]], before[keys[0]])
    assert torch.equal(after[keys[1]], before[keys[1]])
    assert not torch.equal(after[keys[2]], before[keys[2]])
    back = loaded(host, model, keys)
    assert all(torch.equal(back[key], before[key]) for key in keys)


def test_what_survives_is_what_is_really_stored(host: Any, model: Any, tmp_path: Path) -> None:
    """The figures of the report against the weights of a model that was loaded with the LoRA."""
    path = write(tmp_path / "weak.safetensors", native_lora(size=0.02, **SIZES))
    result = apply(host, path, model)
    measured = [layer for layer in result.report.layers if layer.delta_kept is not None]
    assert 1 <= len(measured) <= 4
    keys = [layer.model_key for layer in measured]
    before, after = loaded(host, model, keys), loaded(host, result.model, keys)
    for layer in measured:
        tensors = host.utils.load_torch_file(path)
        name = layer.model_key.removesuffix(".weight")
        wanted = (tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]).double()
        arrived = (after[layer.model_key] - before[layer.model_key]).double()
        kept = float((arrived * wanted).sum() / wanted.norm() ** 2)
        noise = float((arrived - wanted).norm() / wanted.norm())
        assert layer.delta_kept == pytest.approx(kept, rel=0.1, abs=0.1)  # 128 rows stand for all
        assert layer.delta_noise == pytest.approx(noise, rel=0.15, abs=0.05)
    assert any("quantised again" in note for note in result.report.notes)
    host.management.load_models_gpu([model])


def test_a_weak_lora_is_advised_to_bypass_and_auto_takes_it(host: Any, model: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "weak.safetensors", native_lora(size=0.005, **SIZES))
    merged = apply(host, path, model)
    assert merged.report.advice.startswith("Use the method auto")
    assert merged.report.level is host.Level.WARNING
    for method in ("auto", "cheapest"):
        chosen = apply(host, path, model, method, steps=1000)
        assert chosen.report.advice == ""
        plain = whole(model) if method == "auto" else set()
        assert {x.method for x in chosen.report.layers if x.model_key not in plain} == {"bypass"}
    assert any(note.startswith("Method cheapest took bypass: the model is quantised") for note in chosen.report.notes)


def test_auto_merges_whole_weights_and_says_what_merging_would_have_kept(
    host: Any, model: Any, tmp_path: Path
) -> None:
    state = native_lora(size=0.005, **SIZES)
    stored = whole(model)
    result = apply(host, write(tmp_path / "weak.safetensors", state), model, "auto")
    for layer in result.report.layers:
        assert layer.method == ("merge" if layer.model_key in stored else "bypass"), layer.model_key
    assert set(result.model.patches) == {layer.model_key for layer in result.report.layers} & stored
    said = [note for note in result.report.notes if note.startswith("Method auto: ")]
    assert len(said) == 1
    assert "Merging would have kept" in said[0]
    strong = apply(host, write(tmp_path / "strong.safetensors", native_lora(size=2.0, **SIZES)), model, "auto")
    assert {layer.method for layer in strong.report.layers} == {"merge"}
    assert any(note.startswith("Method auto merged it: in the ") for note in strong.report.notes)


def whole(model: Any) -> set[str]:
    """Keys of the weights that are stored as plain numbers."""
    found = set()
    for key, parameter in model.model.named_parameters():
        if type(parameter) is torch.nn.Parameter and parameter.dtype not in (torch.float8_e4m3fn, torch.int8):
            found.add(key)
    return found


def test_bypass_is_the_lora_on_the_unrounded_weight(host: Any, model: Any, tmp_path: Path) -> None:
    """One layer's own forward pass: what comes out more is exactly what the LoRA adds."""
    path = write(tmp_path / "weak.safetensors", native_lora(size=0.02, **SIZES))
    name = "diffusion_model.double_blocks.0.img_mlp.2"
    result = apply(host, path, model, "bypass")
    layer = host.utils.get_attr(model.model, name)
    x = torch.randn(1, 16, 384, generator=torch.Generator().manual_seed(1), dtype=torch.float32).bfloat16()
    host.management.load_models_gpu([model])
    with torch.inference_mode():
        before = layer(x.clone())
        host.management.load_models_gpu([result.model])
        after = layer(x.clone())
        host.management.load_models_gpu([model])
        again = layer(x.clone())
    tensors = host.utils.load_torch_file(path)
    wanted = x.float() @ tensors[f"{name}.lora_A.weight"].T @ tensors[f"{name}.lora_B.weight"].T
    rounding = float(before.float().norm()) * 2**-8  # one bf16 rounding of the sum
    assert float((after.float() - before.float() - wanted).norm()) < 1.5 * rounding
    assert float(wanted.norm()) > 4 * rounding
    assert torch.equal(before, again)


def test_formats_are_named_as_in_the_file_and_show_patches_says_them(host: Any, model: Any, tmp_path: Path) -> None:
    from pack.nodes.core.files.header import read_header
    from pack.nodes.core.files.storage import read_quantisation
    from pack.nodes.host.comfyui.private import source_of
    from pack.nodes.host.inspect.patches import inspect_patches

    in_file = {name for name in read_quantisation(read_header(source_of(model))).formats if name not in WHOLE}
    result = apply(host, write(tmp_path / "x.safetensors", native_lora(size=2.0, **SIZES)), model)
    shown = inspect_patches(result.model)
    said = next(note for note in shown.notes if note.startswith("Quantised weights among them"))
    assert in_file & {layer.stored for layer in shown.layers}
    assert any(f" {name}" in said for name in in_file)
    assert any(name in note for name in in_file for note in result.report.notes)


WHOLE = ("bf16", "fp16", "fp32")
