"""Converted files change the same weights by the same amounts: against truths of others, and there and back."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lora_files import shared
from pack.nodes.core.bake.convert_write import MADE_FOR_PROGRAM
from pack.nodes.core.cli.main import main
from pack.nodes.core.files.header import read_header
from safetensors.torch import load_file

ROOT = Path(__file__).parents[4]
BASE = ROOT / "models" / "diffusion_models" / "klein-nano-base.safetensors"
DUOTONE = ROOT / "models" / "loras" / "klein-nano-duotone.safetensors"
Deltas = dict[str, torch.Tensor]


def run(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    code = main([str(x) for x in arguments], out, out)
    return code, out.getvalue()


def plain_deltas(path: Path, prefix: str) -> Deltas:
    """What a file of LoRAs and LoKrs says, read by nothing but its keys."""
    tensors = {key: value.double() for key, value in load_file(path).items()}
    found: Deltas = {}
    for key in tensors:
        name = key.removesuffix(".lora_down.weight").removesuffix(".lora_A.weight")
        if name == key:
            continue
        up = tensors.get(f"{name}.lora_up.weight", tensors.get(f"{name}.lora_B.weight"))
        assert up is not None
        down = tensors[key]
        alpha = tensors.get(f"{name}.alpha", torch.tensor(float(down.shape[0])))
        found[name.removeprefix(prefix)] = up @ down * (alpha / down.shape[0])
    for key in tensors:
        name = key.removesuffix(".lokr_w1")
        if name != key:
            found[name.removeprefix(prefix)] = torch.kron(tensors[key], tensors[f"{name}.lokr_w2"])
    return found


def test_there_and_back_changes_nothing(tmp_path: Path) -> None:
    direct, other, back = (tmp_path / f"{name}.safetensors" for name in ("direct", "other", "back"))
    assert run("convert", DUOTONE, "--to", "comfy", "--model", BASE, "-o", direct)[0] == 0
    truth = plain_deltas(direct, "diffusion_model.")
    original = plain_deltas(DUOTONE, "lora_unet_")
    assert {name.replace(".", "_"): name for name in truth}.keys() == original.keys()
    assert all(torch.equal(original[name.replace(".", "_")], delta) for name, delta in truth.items())
    for target in ("diffusers", "kohya"):
        assert run("convert", direct, "--to", target, "--model", BASE, "-o", other, "--overwrite")[0] == 0
        assert run("convert", other, "--to", "comfy", "--model", BASE, "-o", back, "--overwrite")[0] == 0
        again = plain_deltas(back, "diffusion_model.")
        assert again.keys() == truth.keys()
        assert all(torch.allclose(again[name], truth[name], rtol=1e-5, atol=1e-9) for name in truth), target
        assert run("check", other, "--model", BASE)[0] == 0
    assert read_header(other).metadata[MADE_FOR_PROGRAM] == "kohya"


FIELD = {
    "krea2_diffusers_names": "krea2_tiny",
    "krea2_fused_qkv_lora": "krea2_tiny",
    "anima_diffusers_onetrainer": "anima_tiny_28",
    "h3_diffusers_split": "h3_tiny",
    "h3_diffusers_split_gate_first": "h3_tiny",
    "h3_diffsynth_interleaved_qkv": "h3_tiny",
    "h3_alpha_only_in_metadata": "h3_tiny",
    "hv15_musubi_split": "hv15_tiny",
    "peft_rank_pattern": "wan_tiny",
}


@pytest.mark.parametrize("target", ["comfy", "diffusers"])
@pytest.mark.parametrize("name", FIELD)
def test_field_files_mean_the_same_in_comfyui_s_names(name: str, target: str, tmp_path: Path) -> None:
    field = shared("field")
    source, model = field / f"loras/{name}.safetensors", field / f"models/{FIELD[name]}.safetensors"
    config = field / f"loras/{name}.adapter_config.json"
    if config.exists():
        source = tmp_path / source.name
        source.write_bytes((field / f"loras/{name}.safetensors").read_bytes())
        (tmp_path / "adapter_config.json").write_bytes(config.read_bytes())
    out = tmp_path / "converted" / "comfy.safetensors"
    if target == "diffusers":  # through diffusers' names and back
        through = out.with_name("through.safetensors")
        code, said = run("convert", source, "--to", "diffusers", "--model", model, "-o", through)
        assert code == 0, said
        source = through
    code, said = run("convert", source, "--to", "comfy", "--model", model, "-o", out)
    assert code == 0, said
    found = plain_deltas(out, "diffusion_model.")
    truth = {k: v for k, v in load_file(field / f"truth/{name}.safetensors").items() if "#" not in k}
    names = {key.removeprefix("diffusion_model.").removesuffix(".weight"): key for key in truth}
    assert found.keys() == names.keys()
    for layer, key in names.items():
        probe = torch.from_numpy(np.random.default_rng(found[layer].shape[1]).standard_normal(found[layer].shape[1]))
        product, wanted = found[layer] @ probe, truth[key].double()
        assert (product - wanted).norm() <= 1e-3 * wanted.norm(), key


def test_peft_gets_a_folder_with_its_configuration(tmp_path: Path) -> None:
    assert run("convert", DUOTONE, "--to", "peft", "--model", BASE, "-o", tmp_path / "style")[0] == 0
    config = json.loads((tmp_path / "style" / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = load_file(tmp_path / "style" / "adapter_model.safetensors")
    ranks = {key.split(".lora_A")[0]: value.shape[0] for key, value in tensors.items() if ".lora_A." in key}
    for name, rank in ranks.items():
        module = name.removeprefix("base_model.model.")
        assert module in config["target_modules"]
        for pattern in ("rank_pattern", "alpha_pattern"):
            assert config[pattern].get(module, config["r"]) == rank
    assert run("convert", DUOTONE, "--to", "peft", "--model", BASE, "-o", tmp_path / "style")[0] == 2


def test_what_cannot_be_said_is_refused_and_nothing_written(tmp_path: Path) -> None:
    source = shared("field/loras/krea2_fused_qkv_dokr.safetensors")
    model = shared("field/models/krea2_tiny.safetensors")
    for target in ("diffusers", "peft", "kohya", "comfy"):
        code, said = run("convert", source, "--to", target, "--model", model, "-o", tmp_path / target)
        assert code == 2
        assert "DoRA" in said
    assert list(tmp_path.iterdir()) == []
    assert run("convert", DUOTONE, "--to", "comfy", "-o", tmp_path / "x")[0] == 64
