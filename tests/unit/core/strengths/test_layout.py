"""The blocks that the strength editor draws, and the cases that it reads as Python does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pack.nodes.core.files.header import read_header
from pack.nodes.core.lora.file import read_lora
from pack.nodes.core.strengths.layout import lora_file_layout, model_file_layout
from safetensors.torch import save_file
from unit.strength_vectors import FILE, as_text

MODELS = Path(__file__).resolve().parents[4] / "models"


def _lora(path: Path, tensors: dict[str, torch.Tensor], energy: bool = True) -> dict[str, Any]:
    file = path / "lora.safetensors"
    save_file(tensors, file)
    return lora_file_layout(read_lora(read_header(file)), energy)


def _pair(name: str, size: float, out: int = 8, into: int = 8) -> dict[str, torch.Tensor]:
    """A rank-1 LoRA layer whose delta has the norm ``size``."""
    up, down = torch.zeros(out, 1), torch.zeros(1, into)
    up[0, 0], down[0, 0] = size, 1.0
    return {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}


def test_the_cases_for_javascript_are_up_to_date() -> None:
    command = "python -m tests.unit.strength_vectors"
    assert FILE.read_text(encoding="utf-8") == as_text(), f"write it again: {command}"


def test_energy_is_the_share_of_squared_norm(tmp_path: Path) -> None:
    names = {"double_blocks_0_img_attn_proj": 3.0, "double_blocks_1_txt_mlp_0": 4.0, "img_in": 5.0}
    tensors = {key: t for name, size in names.items() for key, t in _pair(f"lora_unet_{name}", size).items()}
    layout = _lora(tmp_path, tensors)
    assert layout["energy"] == {
        "double_blocks.0": {"img_attn_proj": pytest.approx(9 / 50)},
        "double_blocks.1": {"txt_mlp_0": pytest.approx(16 / 50)},
        "other": {"img_in": pytest.approx(25 / 50)},
    }
    assert layout["not_measured"] == 0


def test_blocks_come_in_order_and_equal_ones_once(tmp_path: Path) -> None:
    names = [f"single_blocks_{i}_linear1" for i in (10, 2, 0)] + ["double_blocks_0_img_attn_qkv"]
    tensors = {k: t for name in names for k, t in _pair(f"lora_unet_{name}", 1.0, 56).items()}
    layout = _lora(tmp_path, tensors, energy=False)
    single = next(c for c in layout["containers"] if c["kind"] == "single_blocks")
    assert [block["index"] for block in single["blocks"]] == [0, 2, 10]
    assert len({block["layers"] for block in single["blocks"]}) == 1
    linear1 = layout["layer_sets"][single["blocks"][0]["layers"]][0]
    assert linear1["slices"] == [["q", "attn"], ["k", "attn"], ["v", "attn"], ["mlp"]]
    assert layout["energy"] is None


def test_a_lora_that_cannot_be_measured_says_so(tmp_path: Path) -> None:
    name = "lora_unet_double_blocks_0_img_attn_proj"
    layout = _lora(tmp_path, _pair(name, 1.0) | {f"{name}.dora_scale": torch.ones(8, 1)})
    assert layout["energy"] == {}
    assert layout["not_measured"] == 1


def test_the_text_encoder_of_a_file_is_not_known_by_layers(tmp_path: Path) -> None:
    layout = _lora(tmp_path, _pair("lora_te1_text_model_encoder_layers_0_mlp_fc1", 1.0))
    assert layout["te"]["known"] is False
    assert layout["energy"] == {"te": {"lora_te1_text_model_encoder_layers_0_mlp_fc1": 1.0}}
    assert layout["containers"] == []


def test_a_model_file_names_its_own_blocks_and_slices() -> None:
    layout = model_file_layout(read_header(MODELS / "diffusion_models" / "klein-nano-base.safetensors"))
    assert [(c["kind"], len(c["blocks"])) for c in layout["containers"]] == [("double_blocks", 2), ("single_blocks", 4)]
    double = layout["layer_sets"][layout["containers"][0]["blocks"][0]["layers"]]
    qkv = next(layer for layer in double if layer["layer"] == "img_attn.qkv")
    assert qkv == {
        "layer": "img_attn.qkv",
        "parts": ["attn", "img", "img_attn", "img_attn.qkv", "qkv"],
        "slices": [["q"], ["k"], ["v"]],
    }


def test_a_checkpoint_is_read_without_its_other_parts(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    prefix = "model.diffusion_model.double_blocks.0.img_attn"
    save_file(
        {f"{prefix}.qkv.weight": torch.zeros(24, 8), "first_stage_model.decoder.up.0.x.weight": torch.zeros(2)}, file
    )
    layout = model_file_layout(read_header(file))
    assert [c["kind"] for c in layout["containers"]] == ["double_blocks"]
    assert layout["other"] is None


def test_names_of_absurd_length_are_left_out(tmp_path: Path) -> None:
    layout = _lora(tmp_path, _pair(f"lora_unet_double_blocks_0_{'x' * 500}", 1.0))
    assert layout["containers"] == []
    assert len(json.dumps(layout)) < 2_000
