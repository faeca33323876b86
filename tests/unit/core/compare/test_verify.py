"""Planted LoRAs are found at their strengths, in checkpoints merged in several ways, and nothing else is."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pack.nodes.core.cli.main import main
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[4]
DUOTONE = ROOT / "models" / "loras" / "klein-nano-duotone.safetensors"
MONO = ROOT / "models" / "loras" / "klein-nano-monochrome.safetensors"
BASE = ROOT / "models" / "diffusion_models" / "klein-nano-base.safetensors"
Tensors = dict[str, torch.Tensor]


def run(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    code = main([str(x) for x in arguments], out, out)
    return code, out.getvalue()


def products(path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor, float]]:
    """``up``, ``down`` and scale by the model's key with underscores, from the keys alone."""
    tensors, found = load_file(path), {}
    for key, down in tensors.items():
        for low, high in ((".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight")):
            if key.endswith(low):
                name = key.removesuffix(low)
                alpha = tensors.get(f"{name}.alpha")
                scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
                bare = name.removeprefix("lora_unet_").removeprefix("diffusion_model.").replace(".", "_")
                found[bare] = tensors[name + high].float(), down.float(), scale
    return found


def merge_into(path: Path, *planted: tuple[Path, float], only: str = "", low: bool = False) -> Path:
    """A checkpoint: the base with LoRAs in it."""
    state: Tensors = load_file(BASE)
    for source, strength in planted:
        deltas = products(source)
        for key, weight in state.items():
            name = key.removesuffix(".weight").removeprefix("model.diffusion_model.").replace(".", "_")
            if name in deltas and only in name:
                up, down, scale = deltas[name]
                delta = strength * scale * (up @ down)
                merged = weight + delta.to(weight.dtype) if low else (weight.float() + delta).to(weight.dtype)
                state[key] = merged
    save_file(state, path)
    return path


def verify(checkpoint: Path, *loras: Path) -> tuple[int, dict[str, Any]]:
    code, said = run("verify", checkpoint, *loras, "--base", BASE, "--json")
    return code, json.loads(said)


@pytest.mark.parametrize(("strength", "low"), [(0.8, False), (-0.35, True), (1.0, False)])
def test_a_planted_strength_is_found_and_replayed(tmp_path: Path, strength: float, low: bool) -> None:
    merged = merge_into(tmp_path / "m.safetensors", (DUOTONE, strength), low=low)
    code, found = verify(merged, DUOTONE)
    (file,) = found["files"]
    assert (code, file["verdict"]) == (0, "verified")
    assert file["strength"] == pytest.approx(strength, abs=5 * file["error"] + 1e-3)
    assert sum(layer["bytes_same"] == 1.0 for layer in found["layers"]) > 0.9 * len(found["layers"])


def test_several_candidates_are_told_apart(tmp_path: Path) -> None:
    merged = merge_into(tmp_path / "m.safetensors", (DUOTONE, 0.6), (MONO, -0.4))
    code, found = verify(merged, DUOTONE, MONO)
    assert code == 0
    assert [file["strength"] for file in found["files"]] == pytest.approx([0.6, -0.4], abs=2e-3)
    assert {file["verdict"] for file in found["files"]} == {"verified"}


def test_a_lora_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    merged = merge_into(tmp_path / "m.safetensors", (DUOTONE, 0.8))
    code, found = verify(merged, DUOTONE, MONO)
    assert code == 3
    assert [file["verdict"] for file in found["files"]] == ["verified", "not"]


def test_the_base_itself_holds_nothing() -> None:
    code, found = verify(BASE, DUOTONE)
    assert (code, found["files"][0]["verdict"]) == (3, "not")


def test_a_part_of_a_lora_is_a_part(tmp_path: Path) -> None:
    merged = merge_into(tmp_path / "m.safetensors", (DUOTONE, 0.8), only="single")
    code, found = verify(merged, DUOTONE)
    assert (code, found["files"][0]["verdict"]) == (1, "partly")


def test_a_lora_among_other_changes_is_partly_verified(tmp_path: Path) -> None:
    merged = merge_into(tmp_path / "m.safetensors", (DUOTONE, 0.8), (MONO, 0.5))
    code, found = verify(merged, DUOTONE)
    assert (code, found["files"][0]["verdict"]) == (1, "partly")


def test_packed_weights_cannot_tell(tmp_path: Path) -> None:
    state = {key: x.to(torch.float8_e4m3fn) if x.dim() == 2 else x for key, x in load_file(BASE).items()}
    save_file(state, tmp_path / "fp8.safetensors")
    code, found = verify(tmp_path / "fp8.safetensors", DUOTONE)
    assert (code, found["files"][0]["verdict"]) == (4, "cannot tell")


def test_what_was_planted_is_extracted(tmp_path: Path) -> None:
    state = {key: x.float() for key, x in load_file(BASE).items()}
    save_file(state, tmp_path / "base.safetensors")
    key = next(k for k in state if k.endswith("single_blocks.0.linear2.weight"))
    torch.manual_seed(1)
    planted = torch.randn(state[key].shape[0], 3) @ torch.randn(3, state[key].shape[1]) * 0.01
    save_file(state | {key: state[key] + planted}, tmp_path / "tuned.safetensors")
    code, said = run("extract", tmp_path / "tuned.safetensors", "--base", tmp_path / "base.safetensors", "-o",
                     tmp_path / "out.safetensors", "--energy", "0.9999", "--dtype", "float32")  # fmt: skip
    assert code == 0, said
    made = load_file(tmp_path / "out.safetensors")
    (name,) = {k.removesuffix(".lora_up.weight") for k in made if k.endswith(".lora_up.weight")}
    assert name == f"diffusion_model.{key.removeprefix('model.diffusion_model.').removesuffix('.weight')}"
    delta = made[f"{name}.lora_up.weight"] @ made[f"{name}.lora_down.weight"]
    assert made[f"{name}.alpha"] == made[f"{name}.lora_down.weight"].shape[0] == 3
    assert float((delta - planted).norm() / planted.norm()) < 1e-3
    refused = run("extract", BASE, "--base", BASE, "-o", tmp_path / "none", "--rank", "4")
    assert refused[0] == 2
    assert "the same in every weight" in refused[1]
    assert not (tmp_path / "none.safetensors").exists()
