"""A control LoRA as Black Forest Labs writes them: it enlarges the input layer, sets norms, and has bare names."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, native_lora, write

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 1}
INPUT = "diffusion_model.img_in.weight"


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """ComfyUI's loaders and the pack's host modules."""
    import comfy.lora
    import comfy.sd
    import comfy.utils
    from pack.nodes.core.bake import file as bake_file
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply
    from pack.nodes.host.bake import save

    return types.SimpleNamespace(
        sd=comfy.sd, utils=comfy.utils, lora=comfy.lora, apply=apply.apply_lora, save=save.save_lora,
        options=bake_file.make_options, State=report.LayerState,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES))


def control_lora(rows: int, columns: int, reshape: tuple[int, int] | None = None) -> dict[str, torch.Tensor]:
    """Of the layout by which ``convert_lora_bfl_control`` knows them."""
    generator = torch.Generator().manual_seed(3)
    state = {key.removeprefix("diffusion_model."): value for key, value in native_lora(**SIZES).items()}
    state["img_in.lora_A.weight"] = torch.randn(4, columns, generator=generator)
    state["img_in.lora_B.weight"] = torch.randn(rows, 4, generator=generator)
    state["single_blocks.0.linear2.lora_B.bias"] = torch.randn(128, generator=generator)
    for kind in ("query", "key"):
        state[f"single_blocks.0.norm.{kind}_norm.scale"] = torch.full((128,), 1.5)
    if reshape is not None:
        state = {f"diffusion_model.{key.replace('.scale', '.set_weight')}": value for key, value in state.items()}
        state["diffusion_model.img_in.reshape_weight"] = torch.tensor(reshape)
    return state


def stock(host: Any, model: Any, path: str, strength: float) -> Any:
    return host.sd.load_lora_for_models(model, None, host.utils.load_torch_file(path), strength, 0.0)[0]


def weights(host: Any, patcher: Any) -> dict[str, torch.Tensor]:
    """What every patched weight becomes."""
    plain = patcher.model_state_dict()
    return {key: host.lora.calculate_weight(found, plain[key].clone(), key) for key, found in patcher.patches.items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("method", ["merge", "bypass"])
def test_it_is_the_stock_loaders_and_measured(host: Any, model: Any, tmp_path: Path, method: str) -> None:
    rows, columns = model.model_state_dict()[INPUT].shape
    state = control_lora(rows, 2 * columns)
    path = write(tmp_path / "control.safetensors", state)
    made = host.apply(path, "control", model, None, 0.5, 0.0, "", method=method)
    layers = {layer.model_key: layer for layer in made.report.layers}
    assert layers[INPUT].state is host.State.APPLIED
    product = state["img_in.lora_B.weight"] @ state["img_in.lora_A.weight"]
    assert layers[INPUT].delta_norm == pytest.approx(float(product.norm()), rel=1e-5)
    expected = weights(host, stock(host, model, path, 0.5))
    assert expected[INPUT].shape == (rows, 2 * columns)
    if method == "merge":
        assert same(weights(host, made.model), expected)
    else:
        assert "merged, because it enlarges the weight" in layers[INPUT].reason
        assert torch.equal(weights(host, made.model)[INPUT], expected[INPUT])


@pytest.mark.parametrize(("convert", "rank"), [("never", 0), ("LoRA for all", 2), ("difference where needed", 0)])
def test_saved_it_enlarges_the_weight_too(host: Any, model: Any, tmp_path: Path, convert: str, rank: int) -> None:
    rows, columns = model.model_state_dict()[INPUT].shape
    path = write(tmp_path / "control.safetensors", control_lora(rows, 2 * columns))
    options = host.options(convert, rank, 1.0, "as in the file")
    saved = host.save(path, "control", model, None, (0.5, 1.0), "", options, tmp_path / "saved.safetensors")
    meant = weights(host, host.apply(path, "control", model, None, 0.5, 0.0, "").model)
    written = weights(host, stock(host, model, str(saved.file.path), 1.0))
    assert torch.allclose(written[INPUT], meant[INPUT], atol=1e-5)
    assert rank or all(torch.allclose(written[key], meant[key], atol=1e-5) for key in meant | written)
    assert not rank or any("keeps its rank" in layer.reason for layer in saved.report.layers)


@pytest.mark.parametrize(("product", "reshape"), [((64, 256), (128, 256)), ((128, 256), (128, 300)), ((64, 64),) * 2])
def test_one_that_cannot_be_is_named(
    host: Any, model: Any, tmp_path: Path, product: tuple[int, int], reshape: tuple[int, int]
) -> None:
    """Factors that are not of the shape that the file says, and one that is smaller than the weight."""
    path = write(tmp_path / "control.safetensors", control_lora(*product, reshape))
    made = host.apply(path, "control", model, None, 1.0, 0.0, "")
    assert {x.state for x in made.report.layers if x.model_key == INPUT} == {host.State.SHAPE_MISMATCH}
    assert INPUT not in made.model.patches
