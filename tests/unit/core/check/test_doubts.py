"""Doubts: each with evidence in a file made here, and the healthy twin of the same file without any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_files import SHARED, flux2_shapes, header_from, shared, write_lora
from pack.nodes.core.check.files import check_file
from pack.nodes.core.check.model_file import ModelFile, model_of_header, read_model_file
from pack.nodes.core.check.report import Checked
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.report.report import LayerState, Level

H = 64
MODEL = model_of_header(header_from(flux2_shapes(H, 2, 2, 96)))
QKV, PROJ = "lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_double_blocks_0_img_attn_proj"
OTHER = "lora_unet_double_blocks_1_img_attn_proj"
Parts = dict[str, torch.Tensor]


def lora(rank: int = 4, alpha: float | None = None, rows: int = H) -> Parts:
    parts = {"lora_down.weight": torch.ones(rank, H), "lora_up.weight": torch.ones(rows, rank)}
    return parts if alpha is None else {**parts, "alpha": torch.tensor(float(alpha))}


def lokr(alpha: float, rank: int = 0) -> Parts:
    parts = {"lokr_w1": torch.ones(8, 8), "alpha": torch.tensor(float(alpha))}
    if not rank:
        return {**parts, "lokr_w2": torch.ones(8, 8)}
    return {**parts, "lokr_w2_a": torch.ones(8, rank), "lokr_w2_b": torch.ones(rank, 8)}


def merged(alpha: float, parts: int = 3, one: int = 4) -> Parts:
    blocks = torch.block_diag(*[torch.ones(H, one)] * parts)
    return {"lora_down.weight": torch.ones(one * parts, H), "lora_up.weight": blocks, "alpha": torch.tensor(alpha)}


def checked(tmp_path: Path, layers: dict[str, Parts], name: str = "x", **metadata: object) -> Checked:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    return check_file(write_lora(tmp_path / f"{name}.safetensors", layers, texts), MODEL)


DIM = {"ss_network_dim": 32, "ss_network_alpha": 1}
CASES: list[tuple[str, dict[str, Parts], dict[str, object]]] = [
    ("scale_whole_factors", {PROJ: lokr(1)}, DIM),
    ("", {PROJ: lokr(32)}, DIM),
    ("", {PROJ: lokr(9_999_999_999.0)}, DIM),
    ("", {PROJ: lokr(1)}, {}),
    ("scale_spread", {PROJ: lokr(8, 1), OTHER: lokr(8, 16)}, {}),
    ("", {PROJ: lokr(1, 1), OTHER: lokr(16, 16)}, {}),
    ("", {PROJ: lora(4, 4), OTHER: lora(16, 4)}, {"ss_network_module": "networks.lora_flux"}),
    ("", {PROJ: lora(2, 4), OTHER: lora(64, 4)}, {"ss_network_args": {"network_reg_dims": "single=64"}}),
    ("scale_spread", {PROJ: lora(2, 4), OTHER: lora(64, 4)}, {}),
    ("scale_spread", {PROJ: lora(2, 4), OTHER: lora(16, 4)}, {"ss_network_module": "lycoris.kohya"}),
    ("", {PROJ: lora(2, 4), OTHER: lora(16, 4)}, {}),
    ("no_alpha", {PROJ: lora(64)}, {"ss_network_dim": 64, "ss_network_alpha": 8}),
    ("", {PROJ: lora(64)}, {"ss_network_dim": 64, "ss_network_alpha": 64}),
    ("", {PROJ: lora(64)}, {}),
    ("", {PROJ: lora(64, 8)}, {"ss_network_dim": 64, "ss_network_alpha": 8}),
    ("merged_alpha", {QKV: merged(4.0), PROJ: lora(4, 4)}, {}),
    ("merged_alpha", {QKV: merged(2.0), PROJ: lora(4, 2)}, {}),
    ("merged_alpha", {QKV: merged(4.0)}, {}),
    ("", {QKV: merged(12.0), PROJ: lora(4, 4)}, {}),
    ("", {QKV: merged(6.0), PROJ: lora(4, 2)}, {}),
    ("", {QKV: lora(12, 4, 3 * H), PROJ: lora(4, 4)}, {}),
    ("training_adapter", {PROJ: lora()}, {"modelspec.title": "Z-Image training adapter v2"}),
    ("training_adapter", {PROJ: lora()}, {"ss_output_name": "zimage_turbo_training_adapter_v1"}),
    ("", {PROJ: lora()}, {"ss_output_name": "anna_trained_with_training_adapter"}),
    ("", {PROJ: lora()}, {"modelspec.title": "Anna (no training adapter)"}),
]  # fmt: skip


@pytest.mark.parametrize(("doubt", "layers", "metadata"), CASES)
def test_a_doubt_and_its_healthy_twin(
    tmp_path: Path, doubt: str, layers: dict[str, Parts], metadata: dict[str, object]
) -> None:
    result = checked(tmp_path, layers, **metadata)
    assert [x.id for x in result.report.doubts] == ([doubt] if doubt else [])
    assert result.verdict.fits
    assert result.report.level is (Level.WARNING if doubt else Level.OK)
    assert ("not without doubt" in result.report.summary) == bool(doubt)


@pytest.mark.parametrize(
    ("title", "is_patch"),
    [
        ("Qwen-Image-Lightning-8steps-V1.0", True), ("pytorch_lcm_lora_weights", True), ("klein turbo lora", True),
        ("wan_lightx2v_4step", True), ("Hyper-FLUX.1-dev-8steps", True), ("ink-000012-steps", False),
        ("Anna, trained on Lightning", False), ("thunder and lightnings", False), ("style_2000steps", False),
        ("zimage_turbo_training_adapter", False),
    ],
)  # fmt: skip
def test_a_distillation_patch_is_told_by_its_name(tmp_path: Path, title: str, is_patch: bool) -> None:
    report = checked(tmp_path, {PROJ: lora()}, **{"modelspec.title": title}).report
    assert any("distillation patch" in note for note in report.notes) == is_patch


def test_a_file_of_zeros_changes_nothing(tmp_path: Path) -> None:
    def zeros() -> Parts:
        return {**lora(), "lora_up.weight": torch.zeros(H, 4)}

    dead = checked(tmp_path, {PROJ: zeros(), OTHER: zeros()})
    assert [x.id for x in dead.report.doubts] == ["all_zero"]
    assert "changes nothing" in dead.report.summary
    assert {x.state for x in dead.report.layers} == {LayerState.DEAD}
    minus = checked(tmp_path, {PROJ: {**lora(), "lora_up.weight": -torch.zeros(H, 4)}}, "minus")
    assert [x.id for x in minus.report.doubts] == ["all_zero"]
    half = checked(tmp_path, {PROJ: zeros(), OTHER: lora()}, "half")
    assert (half.report.doubts, half.report.counts) == ((), {"applied": 1, "dead": 1})
    late = lora()
    late["lora_up.weight"] = torch.zeros(H, 4)
    late["lora_up.weight"][-1, -1] = 1e-8
    assert checked(tmp_path, {PROJ: late}, "late").report.counts == {"applied": 1}


def test_a_tensor_of_no_adapter_counts(tmp_path: Path) -> None:
    result = checked(tmp_path, {PROJ: lora(), OTHER: {"lora_S.weight": torch.ones(4, 4)}})
    assert (result.verdict.fit.value, result.verdict.coverage) == ("fits in part", 0.5)
    assert result.report.counts == {"applied": 1, "not_understood": 1}
    alone = checked(tmp_path, {PROJ: lora(), OTHER: {"alpha": torch.tensor(4.0)}}, "alone")
    assert (alone.verdict.fit.value, alone.verdict.coverage) == ("fits", 1.0)
    assert any("alpha without a pair" in note for note in alone.report.notes)


def test_wan_21_on_22(tmp_path: Path) -> None:
    shapes: dict[str, tuple[int, ...]] = {"patch_embedding.weight": (H, 36, 1, 2, 2), "head.modulation": (1, 2, H)}
    for block in range(2):
        for part in ("self_attn.q", "self_attn.k", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2"):
            shapes[f"blocks.{block}.{part}.weight"] = (H, H)
        shapes[f"blocks.{block}.modulation"] = (1, 6, H)
    layer = {
        "diffusion_model.blocks.0.self_attn.q": {"lora_A.weight": torch.ones(4, H), "lora_B.weight": torch.ones(H, 4)}
    }
    path = write_lora(tmp_path / "x.safetensors", layer, {"ss_base_model_version": "wan2.1_i2v_14b"})
    images = model_of_header(header_from(shapes))
    assert [x.id for x in check_file(path, images).report.doubts] == ["other_version"]
    older = model_of_header(header_from({**shapes, "blocks.0.cross_attn.k_img.weight": (H, H)}))
    assert check_file(path, older).report.doubts == ()


def field_cases() -> dict[str, Any]:
    path = SHARED / "field" / "expected.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def controls() -> list[tuple[str, str]]:
    """Healthy files of the shared data, each with its model: a doubt about one is a fault of ours."""
    nano = "nano/nano_2x3_bfl_f32.safetensors"
    found = [(str(path.relative_to(SHARED)), nano) for path in sorted((SHARED / "loras").glob("*.safetensors"))]
    for name, case in field_cases().items():
        if case["verdict"] == "fits" and not case["also_acceptable"] and case["model_file"].startswith("models"):
            found.append((f"field/loras/{name}.safetensors", f"field/{case['model_file']}"))
    return found


def test_healthy_files_raise_no_doubt() -> None:
    shared("field/expected.json")
    models: dict[str, ModelFile] = {}
    doubtful: dict[str, list[str]] = {}
    for path, model in controls():
        if model not in models:
            models[model] = read_model_file(SHARED / model)
        result = check_file(SHARED / path, models[model])
        if result.report.doubts:
            doubtful[path] = [x.sentence for x in result.report.doubts]
    assert len(controls()) > 50
    assert doubtful == {}


def test_real_files_raise_no_doubt_whatever_the_model() -> None:
    folder = shared("real_loras")
    for path in sorted(folder.rglob("*.safetensors")):
        try:
            assert check_file(path, MODEL).report.doubts == ()
        except PatchbayError:
            continue


def test_the_files_of_the_field_that_are_doubtful() -> None:
    shared("field/expected.json")
    wanted = {
        "lokr_whole_factors_alpha_1": "scale_whole_factors", "reg_dims_one_alpha_for_all_ranks": "scale_spread",
        "all_zero_up": "all_zero", "block_diagonal_qkv_alpha_of_r": "merged_alpha",
    }  # fmt: skip
    for name, doubt in wanted.items():
        model = SHARED / "field" / field_cases()[name]["model_file"]
        report = check_file(SHARED / "field" / "loras" / f"{name}.safetensors", model).report
        assert (report.verdict, [x.id for x in report.doubts]) == ("fits", [doubt])
