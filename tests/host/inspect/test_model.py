"""Inspect Model against the real ComfyUI: blocks, storage, patches, and two models side by side."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, write
from support import some

pytestmark = pytest.mark.host
QUANTISED = Path(__file__).resolve().parents[4] / "shared" / "data" / "quant"
NANO = {"hidden": 128, "double": 2, "single": 3}
QKV = "double_blocks.0.img_attn.qkv.weight"


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.sd
    from pack.nodes.core.report import report
    from pack.nodes.core.report import text as report_text
    from pack.nodes.host.apply import apply
    from pack.nodes.host.inspect import model as model_report

    return types.SimpleNamespace(
        sd=comfy.sd, apply=apply.apply_lora, inspect=model_report.inspect_model, text=report_text.report_text,
        to_json=report.to_json,
    )  # fmt: skip


def states(size: float = 0.1) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights of a model and of one that lies near it."""
    a = flux2_state_dict(seed=0, **NANO)
    generator = torch.Generator().manual_seed(9)
    b = {k: v + size * v.std().nan_to_num(0) * torch.randn(v.shape, generator=generator) for k, v in a.items()}
    return a, b


@pytest.fixture(scope="module")
def models(host: Any) -> tuple[Any, Any]:
    a, b = states()
    return host.sd.load_diffusion_model_state_dict(a), host.sd.load_diffusion_model_state_dict(b)


@pytest.fixture
def lora_path(tmp_path: Path) -> str:
    return write(tmp_path / "x.safetensors", kohya_lora(**NANO))


def block(report: Any, name: str) -> Any:
    return next(item for item in report.model_blocks if item.block == name)


def test_a_model_alone(host: Any, models: tuple[Any, Any]) -> None:
    report = host.inspect(models[0])
    assert [item.block for item in report.model_blocks] == [
        "double_blocks.0", "double_blocks.1", "single_blocks.0", "single_blocks.1", "single_blocks.2", "other"
    ]  # fmt: skip
    assert sum(item.weights for item in report.model_blocks) == len(flux2_state_dict(**NANO))
    assert sum(item.parameters for item in report.model_blocks) == report.model.parameter_count
    assert report.model.evidence
    assert "FLUX.2" in report.summary
    assert {item.distance for item in report.model_blocks} == {None}
    assert "Nothing is patched" in host.text(report)


def test_what_is_patched_is_counted(host: Any, models: tuple[Any, Any], lora_path: str) -> None:
    patched = host.apply(lora_path, "mine.safetensors", models[0], None, 1.0, 0.0, "double_blocks=0").model
    report = host.inspect(patched)
    assert block(report, "double_blocks.0").patched == 0
    assert block(report, "single_blocks.2").patched == 2
    assert any("by mine.safetensors" in note for note in report.notes)


def test_the_distance_of_two_models_is_the_dense_one(host: Any, models: tuple[Any, Any]) -> None:
    a, b = states()
    report = host.inspect(*models)
    for name in ("double_blocks.1", "single_blocks.0"):
        keys = [key for key in a if key.startswith(f"{name}.")]
        moved = sum(float((b[key].double() - a[key].double()).square().sum()) for key in keys)
        base = sum(float(a[key].double().square().sum()) for key in keys)
        assert block(report, name).distance == pytest.approx((moved / base) ** 0.5, rel=1e-5)


def test_the_directions_of_a_lora_are_the_dense_ones(host: Any, models: tuple[Any, Any], lora_path: str) -> None:
    a, b = states()
    lora = kohya_lora(**NANO)
    report = host.inspect(*models, lora_path, "x.safetensors")
    for name in ("double_blocks.0", "single_blocks.1"):
        sums: dict[str, float] = dict.fromkeys(("ub", "um", "moved", "delta", "inner"), 0.0)
        for key in (k for k in a if k.startswith(f"{name}.") and a[k].dim() == 2):
            prefix = f"lora_unet_{key.removesuffix('.weight').replace('.', '_')}"
            up, down = (lora[f"{prefix}.lora_{end}.weight"].double() for end in ("up", "down"))
            w, d = a[key].double(), b[key].double() - a[key].double()
            left, right = torch.linalg.qr(up).Q, torch.linalg.qr(down.T).Q
            delta = 0.5 * up @ down
            for field, value in (
                ("ub", (left.T @ w @ right).square().sum()), ("um", (left.T @ d @ right).square().sum()),
                ("moved", d.square().sum()), ("delta", delta.square().sum()), ("inner", (delta * d).sum()),
            ):  # fmt: skip
                sums[field] += float(value)
        assert block(report, name).direction_shift == pytest.approx((sums["um"] / sums["ub"]) ** 0.5, rel=1e-5)
        cosine = sums["inner"] / (sums["delta"] * sums["moved"]) ** 0.5
        assert block(report, name).cosine == pytest.approx(cosine, rel=1e-4, abs=1e-7)
    assert any("indicators" in note for note in report.notes)


def test_a_patched_and_loaded_model_is_compared_by_its_own_weights(
    host: Any, models: tuple[Any, Any], lora_path: str
) -> None:
    import comfy.model_management

    patched = host.apply(lora_path, "x", models[0], None, 5.0, 0.0, "").model
    before = host.inspect(*models)
    comfy.model_management.load_models_gpu([patched])
    try:
        after = host.inspect(patched, models[1])
    finally:
        comfy.model_management.unload_all_models()
    assert [item.distance for item in after.model_blocks] == pytest.approx(
        [item.distance for item in before.model_blocks], rel=1e-6
    )
    assert host.inspect(*models).model_blocks == before.model_blocks


def test_a_model_of_another_size_is_a_reason_and_not_a_number(host: Any, models: tuple[Any, Any]) -> None:
    other = host.sd.load_diffusion_model_state_dict(flux2_state_dict(hidden=256, double=1, single=1))
    report = host.inspect(models[0], other)
    first, second = block(report, "double_blocks.0"), block(report, "double_blocks.1")
    assert "768 x 256" in first.not_compared
    assert "no such weight" in second.not_compared
    assert second.distance is None
    assert host.text(report)


def test_formats_without_factors_are_named(host: Any, models: tuple[Any, Any], tmp_path: Path) -> None:
    key = f"diffusion_model.{QKV.removesuffix('.weight')}.diff"
    path = write(tmp_path / "d.safetensors", {key: torch.ones(384, 128)})
    report = host.inspect(*models, path, "d.safetensors")
    assert "no two factors" in block(report, "double_blocks.0").not_compared
    assert block(report, "double_blocks.0").direction_shift is None


@pytest.mark.skipif(not QUANTISED.is_dir(), reason="the shared quantised models are not here")
@pytest.mark.parametrize(
    ("file", "words", "distance"),
    [("fp8", "scaled fp8 e4m3 (quantised)", 0.03), ("int8", "int8 (quantised)", 0.02),
     ("mxfp8", "mxfp8 (quantised)", 0.03), ("nvfp4", "nvfp4 (quantised)", 0.1)],
)  # fmt: skip
def test_quantised_models_say_how_and_can_be_compared(host: Any, file: str, words: str, distance: float) -> None:
    whole = host.sd.load_diffusion_model(str(QUANTISED.parent / "nano" / "nano_2x3_bfl_f32.safetensors"))
    try:
        packed = host.sd.load_diffusion_model(str(QUANTISED / f"nano_2x3_{file}.safetensors"))
    except KeyError as missing:
        pytest.skip(f"this ComfyUI does not know the format: {missing}")
    report = host.inspect(packed, whole)
    inside = [item for item in report.model_blocks if item.block != "other"]
    assert all(words in item.dtypes for item in inside)
    assert all(item.distance is not None and 0 < item.distance < distance for item in some(inside))
    assert report.model.weight_count == 45
    assert "hidden 128" in report.model.architecture


def test_the_node_takes_models_without_a_lora(pack_nodes: dict[str, Any], models: tuple[Any, Any]) -> None:
    report, text = pack_nodes["PatchbayInspectModel"].execute(*models).args
    assert report.kind == "model"
    assert "Blocks of the model:" in text


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_file_is_compared_like_the_model_in_it(
    host: Any, models: tuple[Any, Any], lora_path: str, tmp_path: Path, prefix: str
) -> None:
    path = write(tmp_path / "b.safetensors", {f"{prefix}{key}": tensor for key, tensor in states()[1].items()})
    expected = host.inspect(*models, lora_path, "x.safetensors")
    found = host.inspect(models[0], None, lora_path, "x.safetensors", path)
    assert found.model_blocks == expected.model_blocks
    assert found.notes == expected.notes
    assert all(item.distance for item in some(found.model_blocks))


def test_a_file_that_cannot_be_compared_says_why(host: Any, models: tuple[Any, Any], tmp_path: Path) -> None:
    from pack.nodes.core.errors import PatchbayError

    small = write(tmp_path / "small.safetensors", flux2_state_dict(hidden=256, double=2, single=3))
    report = host.inspect(models[0], file_b=small)
    assert "the second model's weight is 768 x 256" in block(report, "double_blocks.0").not_compared
    scaled = states()[1] | {"double_blocks.0.img_attn.qkv.weight_scale": torch.ones(())}
    report = host.inspect(models[0], file_b=write(tmp_path / "scaled.safetensors", scaled))
    assert "cannot be read as numbers" in block(report, "double_blocks.0").not_compared
    assert block(report, "double_blocks.1").not_compared == ""
    with pytest.raises(PatchbayError, match="is a LoRA"):
        host.inspect(models[0], file_b=write(tmp_path / "lora.safetensors", kohya_lora(**NANO)))


def test_the_node_takes_a_file(
    pack_nodes: dict[str, Any], models: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths

    path = write(tmp_path / "b.safetensors", states()[1])
    monkeypatch.setattr(folder_paths, "get_full_path_or_raise", lambda folder, name: path)
    report, text = pack_nodes["PatchbayInspectModel"].execute(models[0], file_b="b.safetensors").args
    assert "a second model" in report.title
    assert "weights were compared" in text
