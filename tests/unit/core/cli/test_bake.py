"""``bake`` and ``resize`` on the command line: the same changes as the formulas, by block of a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import run
from lora_files import flux2_shapes, write_lora
from pack.nodes.core.files.header import read_header
from pack.nodes.core.lora.file import read_lora
from safetensors.torch import load_file, save_file
from support import some

MODEL = flux2_shapes()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({key: torch.zeros(shape, dtype=torch.float16) for key, shape in MODEL.items()}, path)
    return path


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    layers = {
        f"lora_unet_{key.removesuffix('.weight').replace('.', '_')}": {
            "lora_down.weight": torch.randn(4, shape[1], generator=generator),
            "lora_up.weight": torch.randn(shape[0], 4, generator=generator),
            "alpha": torch.tensor(2.0),
        }
        for key, shape in MODEL.items()
        if "blocks." in key
    }
    return write_lora(tmp_path / "lora.safetensors", layers, {"ss_output_name": "style"})


def deltas(path: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(path)
    found = {}
    for layer in read_lora(read_header(path)).layers:
        adapter: Any = layer.adapter
        by_role = {role: tensors[key] for role, key in layer.roles.items() if role != "alpha"}
        found[layer.name] = adapter.delta(by_role, layer.scale)
    return found


def test_bake_by_block(model: Path, lora: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "baked.safetensors"
    blocks = "double_blocks.0=0.5, double_blocks.1=0, single_blocks.0.attn=-1, single_blocks.1.q=0"
    code, text, err = run("bake", lora, "--model", model, "--blocks", blocks, "--strength-model", 2, "-o", out)
    assert (code, err) == (0, "")
    before, after = deltas(lora), deltas(out)
    assert not any("double_blocks_1" in name for name in some(after))
    assert text.count("left out: ") == 8
    for name, delta in some(after.items()):
        expected = before[name] * 2
        if "double_blocks_0" in name:
            expected = expected * 0.5
        if name.endswith("single_blocks_0_linear1"):
            expected[: 3 * 128] *= -1
        if name.endswith("single_blocks_0_linear2"):
            expected[:, :128] *= -1
        if name.endswith("single_blocks_1_linear1"):
            expected[:128] = 0
        torch.testing.assert_close(delta, expected, rtol=1e-5, atol=1e-5)
    metadata = read_header(out).metadata
    assert metadata["ss_output_name"] == "style"
    assert (metadata["patchbay.blocks"], metadata["patchbay.strength_model"]) == (blocks, "2.0")
    assert "FLUX.2" in metadata["patchbay.model"]


def test_resize_prints_the_error_of_every_layer(lora: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    code, text, err = run("resize", lora, "--rank", 2, "-o", out)
    assert (code, err) == (0, "")
    before, after = deltas(lora), deltas(tmp_path / "small.safetensors")
    for name, delta in some(after.items()):
        error = float((delta - before[name]).norm() / before[name].norm())
        assert f"{name}: rank 4 to 2: error {error:.2%}" in text
    assert {layer.rank for layer in read_lora(read_header(tmp_path / "small.safetensors")).layers} == {2}


def test_resize_by_energy_keeps_it(lora: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    assert run("resize", lora, "--energy", 0.8, "-o", out)[0] == 0
    before, after = deltas(lora), deltas(out)
    for name, delta in some(after.items()):
        assert float((delta - before[name]).norm() ** 2 / before[name].norm() ** 2) <= 0.2 + 1e-4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("bake", "--blocks", "all=0.5"), "need --model"),
        (("bake", "--strength-model", "0", "--strength-clip", "0"), "no layer is left to write"),
        (("resize", "--energy", "2"), "energy: expected a fraction"),
    ],
)
def test_refusals(lora: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    command, *rest = arguments
    code, out, err = run(command, lora, *rest, "-o", tmp_path / "out.safetensors")
    assert (code, out) == (2, "")
    assert reason in err
    assert not (tmp_path / "out.safetensors").exists()


def test_files_that_are_there_or_no_loras(model: Path, lora: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert run("bake", lora, "-o", out)[0] == 0
    code, text, _ = run("bake", lora, "-o", out)
    assert code == 0
    assert "out_00001_.safetensors" in text
    assert "is replaced" in run("bake", lora, "--overwrite", "-o", out)[1]
    assert "not replaced by itself" in run("bake", lora, "--overwrite", "-o", lora)[2]
    assert "is not a LoRA" in run("bake", model, "-o", out)[2]
    assert "is a LoRA; --model needs" in run("bake", lora, "--model", lora, "-o", out)[2]
    assert "No such file" in run("bake", tmp_path / "none.safetensors", "-o", out)[2]


def test_formats_without_strength(tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "oft.safetensors", {"a": {"oft_blocks": torch.randn(2, 4, 4)}})
    assert run("bake", lora, "-o", tmp_path / "same")[0] == 0
    code, _, err = run("bake", lora, "--strength-model", 0.5, "-o", tmp_path / "half")
    assert code == 2
    assert "OFT can be kept only at strength 1" in err
    _, _, err = run("bake", lora, "--strength-model", 0.5, "--convert", "difference", "-o", tmp_path / "half")
    assert "needs the model's own weight" in err


def test_layers_that_have_no_place_are_left_out_and_said(model: Path, lora: Path, tmp_path: Path) -> None:
    tensors = load_file(lora) | {
        "lora_unet_double_blocks_9_img_attn_qkv.lora_down.weight": torch.ones(4, 128),
        "lora_unet_double_blocks_9_img_attn_qkv.lora_up.weight": torch.ones(384, 4),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(4, 8),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(8, 4),
    }
    save_file(tensors, tmp_path / "more.safetensors")
    out = tmp_path / "out.safetensors"
    code, text, _ = run("bake", tmp_path / "more.safetensors", "--model", model, "--blocks", "te=0.5", "-o", out)
    assert code == 1
    assert "left out: lora_unet_double_blocks_9_img_attn_qkv: no layer of this model has this name" in text
    assert float(load_file(out)["lora_te_text_model_encoder_layers_0_mlp_fc1.alpha"]) == 2.0
    _, _, err = run("bake", tmp_path / "more.safetensors", "--model", model, "--blocks", "te.0=0.5", "-o", out)
    assert "part of the text encoder" in err
