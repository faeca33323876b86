"""The same layers in other spellings mean the same, whichever program wrote the names."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_cases import EXACT, SIZES, SPELLINGS, added, lora_roles, native_tensors, spelled_tensors, xlabs_tensors
from nano_models import write
from support import some
from writer_reference import reference_deltas, relative_error


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_the_names_means_the_same(
    host: Any, model: Any, weights: Any, tmp_path: Path, spelling: str
) -> None:
    tensors, plain = spelled_tensors(spelling, **SIZES)
    truth = reference_deltas(plain, weights, 1.0)
    path = write(tmp_path / "x.safetensors", tensors)
    result = host.apply(path, spelling, model, None, 1.0, 0.0, "")
    assert relative_error(added(result.model), truth) < EXACT
    assert {layer.state for layer in result.report.layers} == {host.State.APPLIED}


@pytest.mark.parametrize("suffix", ["magnitude", "lora_magnitude_vector", "lora_magnitude_vector.weight"])
@pytest.mark.parametrize("prefix", ["diffusion_model.", "base_model.model."])
def test_every_spelling_of_a_dora_magnitude(
    host: Any, model: Any, weights: Any, tmp_path: Path, suffix: str, prefix: str
) -> None:
    tensors = native_tensors(
        lambda rows, columns: {**lora_roles(rows, columns), suffix: torch.rand(rows) + 0.5}, **SIZES
    )
    plain = {key.replace("|", "."): tensor for key, tensor in tensors.items()}
    path = write(tmp_path / "x.safetensors", {prefix + key: tensor for key, tensor in plain.items()})
    result = host.apply(path, suffix, model, None, 1.0, 0.0, "")
    assert relative_error(added(result.model), reference_deltas(plain, weights, 1.0)) < EXACT
    assert all("DoRA" in x.reason or "does not know this name" in x.reason for x in some(result.report.layers))


def test_xlabs_processors_find_their_layers(host: Any, model: Any, weights: Any, tmp_path: Path) -> None:
    tensors, plain = xlabs_tensors(**SIZES)
    result = host.apply(write(tmp_path / "x.safetensors", tensors), "xlabs", model, None, 1.0, 0.0, "")
    assert relative_error(added(result.model), reference_deltas(plain, weights, 1.0)) < EXACT


def test_diffusers_names_of_stable_diffusion_1(host: Any, tmp_path: Path) -> None:
    import comfy.supported_models
    import comfy.utils
    from pack.nodes.core.files.header import read_header
    from pack.nodes.core.lora.file import read_lora
    from pack.nodes.core.match.name_table import NameTable

    config = {
        **comfy.supported_models.SD15.unet_config, "num_res_blocks": [2, 2, 2, 2], "channel_mult": (1, 2, 4, 4),
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
        "transformer_depth_output": [1] * 9 + [0] * 3,
    }  # fmt: skip
    names = comfy.utils.unet_to_diffusers(config)
    targets = {f"diffusion_model.{value}": (4, 4) for value in names.values()}
    stand_in = types.SimpleNamespace(state_dict=lambda: targets, model_config=types.SimpleNamespace(unet_config=config))
    key_map = host.lora.model_lora_keys_unet(stand_in, {})
    table = NameTable(key_map, targets)
    attention = [name for name in names if ".attn" in name and name.endswith("weight")]
    assert len(attention) == 128
    patterns = (
        "unet.{}.lora.down.weight", "base_model.model.{}.lora_A.weight", "{}.lora_A.weight",
        "lora_unet_unet_{}_lora_down.weight",
    )  # fmt: skip
    for pattern in patterns:
        layers = [name.removesuffix(".weight") for name in attention]
        keys = [pattern.format(name.replace(".", "_") if "lora_unet" in pattern else name) for name in layers]
        state = {key: torch.ones(4, 4) for name in keys for key in (name, _up(name))}
        found = {
            table.find(layer)[0] for layer in read_lora(read_header(write(tmp_path / "x.safetensors", state))).layers
        }
        assert found == {f"diffusion_model.{names[name]}" for name in attention}


def _up(key: str) -> str:
    return key.replace(".lora.down.", ".lora.up.").replace("lora_A", "lora_B").replace("_lora_down.", "_lora_up.")
