"""Layers of a LoRA file: where the scale comes from, which keys belong together, and what is left over."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_files import header_from, shared, write_lora
from pack.nodes.core.files.header import read_header
from pack.nodes.core.lora.file import LoraFile, read_lora
from pack.nodes.core.lora.file_kinds import identify_lora
from pack.nodes.core.lora.keys import split_key
from pack.nodes.core.lora.places import place_layer
from pack.nodes.core.lora.scale_sources import read_header_scale

AB = {"lora_A.weight": (8, 16), "lora_B.weight": (32, 8)}


def lora_of(name: str, metadata: dict[str, str], parts: dict[str, tuple[int, ...]] | None = None) -> LoraFile:
    return read_lora(header_from({f"{name}.{suffix}": s for suffix, s in (parts or AB).items()}, metadata))


def peft(component: str = "", **fields: object) -> dict[str, str]:
    prefix = f"{component}." if component else ""
    return {"lora_adapter_metadata": json.dumps({prefix + k: v for k, v in fields.items()})}


@pytest.mark.parametrize(
    ("name", "metadata", "scale", "source"),
    [
        ("blocks.0.q", {}, 1.0, "no alpha anywhere: 1"),
        ("transformer.blocks.0.q", peft("transformer", r=8, lora_alpha=16), 2.0, "lora_adapter_metadata"),
        ("blocks.0.q", peft(r=8, lora_alpha=16), 2.0, "lora_adapter_metadata"),
        ("base_model.model.blocks.0.q", peft(r=8, lora_alpha=4), 0.5, "lora_adapter_metadata"),
        ("blocks.0.q", peft(lora_alpha=16, use_rslora=True), 16 / math.sqrt(8), "rsLoRA"),
        ("blocks.0.q", peft(lora_alpha=16, alpha_pattern={"blocks.0.q": 8}), 1.0, "alpha_pattern blocks.0.q"),
        ("blocks.0.q", peft(lora_alpha=16, alpha_pattern={"q": 8}), 1.0, "alpha_pattern q"),
        ("blocks.0.q", peft(lora_alpha=16, alpha_pattern={r"blocks\.\d+\.(q|k)": 8}), 1.0, "alpha_pattern"),
        ("blocks.0.qq", peft(lora_alpha=16, alpha_pattern={"q": 8}), 2.0, "lora_adapter_metadata"),
        ("text_encoder.blocks.0.q", peft("transformer", lora_alpha=16), 1.0, "no alpha anywhere: 1"),
        ("blocks.0.q", {"lora_alpha": "16"}, 2.0, "header alpha (lora_alpha)"),
        ("blocks.0.q", {"network_alpha": "4.0"}, 0.5, "header alpha (network_alpha)"),
        ("blocks.0.q", {"ss_network_alpha": "4.0"}, 1.0, "no alpha anywhere: 1"),
        ("blocks.0.q", {"lora_alpha": "nan"}, 1.0, "no alpha anywhere: 1"),
        ("blocks.0.q", {"lora_alpha": "1e999"}, 1.0, "no alpha anywhere: 1"),
        ("blocks.0.q", {"lora_adapter_metadata": "["}, 1.0, "no alpha anywhere: 1"),
    ],
)
def test_scale_and_its_source(name: str, metadata: dict[str, str], scale: float, source: str) -> None:
    (layer,) = lora_of(name, metadata).layers
    assert layer.scale == pytest.approx(scale)
    assert source in layer.scale_source


def test_an_alpha_that_is_only_mentioned_is_a_note() -> None:
    (note,) = lora_of("a.b", {"ss_network_alpha": "4"}).notes
    assert "scale 1 is used" in note


def test_the_alpha_tensor_wins(tmp_path: Path) -> None:
    parts = {"lora_A.weight": torch.ones(8, 16), "lora_B.weight": torch.ones(32, 8), "alpha": torch.tensor(2.0)}
    path = write_lora(tmp_path / "x.safetensors", {"a.b": parts}, {**peft(lora_alpha=16), "lora_alpha": "5"})
    (layer,) = read_lora(read_header(path)).layers
    assert (layer.scale, layer.alpha, layer.scale_source) == (0.25, 2.0, "alpha tensor")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_alpha_that_is_no_number_is_not_used(tmp_path: Path, value: float) -> None:
    parts = {"lora_A.weight": torch.ones(8, 16), "lora_B.weight": torch.ones(32, 8), "alpha": torch.tensor(value)}
    (layer,) = read_lora(read_header(write_lora(tmp_path / "x.safetensors", {"a.b": parts}))).layers
    assert layer.scale_source == "not known: the alpha tensor is not a number"


HOSTILE = {"(a+)+$": 1, "(a|a)*$": 1, "(" * 400: 1, ".*.*.*.*.*x": 1, "a" * 10_000: 1, "(.*a){20}": 1}
"""Patterns that would take Python's regular expressions longer than anybody waits."""


def test_a_hostile_pattern_is_left_out() -> None:
    scale = read_header_scale(peft(lora_alpha=4, alpha_pattern=HOSTILE))
    assert scale.of("a" * 5_000, 4) == (1.0, "lora_adapter_metadata", 4.0)
    assert len(scale.notes) == len(HOSTILE)


@pytest.mark.timing
def test_a_hostile_pattern_costs_no_time() -> None:
    scale = read_header_scale(peft(lora_alpha=4, alpha_pattern=HOSTILE))
    start = time.perf_counter()
    scale.of("a" * 5_000, 4)
    assert time.perf_counter() - start < 0.5


def test_lycoris_dylora_is_scaled_by_its_blocks(tmp_path: Path) -> None:
    parts = {"lora_down.weight": torch.ones(8, 16), "lora_up.weight": torch.ones(32, 8), "alpha": torch.tensor(2.0)}
    metadata = {"ss_network_args": '{"algo": "dylora", "block_size": 2}'}
    (layer,) = read_lora(read_header(write_lora(tmp_path / "x.safetensors", {"a.b": parts}, metadata))).layers
    assert (layer.format, layer.scale) == ("dylora", 0.5)
    assert "4 blocks" in layer.scale_source


def test_weight_and_bias_are_layers_of_their_own() -> None:
    parts = {**AB, "diff_b": (32,), "alpha": ()}
    weight, bias = lora_of("blocks.0.q", {}, parts).layers
    assert (weight.format, weight.parameter, bias.format, bias.parameter) == ("lora", "weight", "diff_b", "bias")
    assert "alpha" in weight.roles
    assert "alpha" not in bias.roles


def test_every_key_is_somewhere() -> None:
    keys = ["a.lora_A.weight", "b.alpha", "c.lora_up.weight", "bundle_emb.x", "d.weight", "e.on_input", "e.weight"]
    lora = read_lora(header_from(dict.fromkeys(keys, (4, 4))))
    assert sorted([*(k for layer in lora.layers for k in layer.keys), *lora.harmless]) == sorted(keys)
    assert {layer.name: layer.format for layer in lora.layers} == {"a": "", "c": "", "d": "set", "e": "ia3"}
    assert "make no adapter" in lora.layers[0].note
    assert lora.harmless == ("b.alpha", "bundle_emb.x")


@pytest.mark.parametrize(
    ("key", "name", "role"),
    [
        ("lora_unet_a_b.lora_down.weight", "lora_unet_a_b", "down"),
        ("transformer.a.b.lora_A.default.weight", "transformer.a.b", "down"),
        ("a.b.lora_B", "a.b", "up"),
        ("unet.a.processor.to_q_lora.up.weight", "unet.a.processor.to_q", "up"),
        ("unet.a.to_out.0.lora.down.weight", "unet.a.to_out.0", "down"),
        ("a.lora_linear_layer.up.weight", "a", "up"),
        ("double_blocks.0.processor.qkv_lora2.down.weight", "double_blocks.0.processor.qkv_lora2", "down"),
        ("unet:12:up", "unet:12", "up"),
        ("lora_unet_x_to_k_lora_down.weight", "lora_unet_x_to_k", "down"),
        ("a.lora_magnitude_vector.default.weight", "a", "dora_scale"),
        ("a.oft_R.default.weight", "a", "oft_R"),
    ],
)
def test_key_spellings(key: str, name: str, role: str) -> None:
    assert split_key(key) == (name, role)


@pytest.mark.parametrize("key", ["a.weight", "alpha", ".alpha", "", "lora_A.weight", "model.norm.scale"])
def test_keys_of_no_adapter(key: str) -> None:
    assert split_key(key) is None


def test_scales_of_real_files() -> None:
    scales = {
        "lycoris_lora": {0.5},
        "lycoris_dylora": {1.0},
        "peft_blocks_alpha2x.model_save_lora_adapter": {2.0},
        "peft_rslora.pipeline_save_lora_weights": {2.0},
        "peft_rank_alpha_pattern.pipeline_save_lora_weights": {1.0, 4.0},
        "comfyui_trainer_lora": {0.25, 1.0},
        "lycoris_lokr_full": {1.0},
    }
    for name, expected in scales.items():
        lora = read_lora(read_header(shared(f"loras/{name}.safetensors")))
        assert {layer.scale for layer in lora.layers} == expected, name


@pytest.mark.parametrize(
    ("name", "architecture", "block", "layer"),
    [
        ("diffusion_model.double_blocks.3.img_attn.qkv", "flux2", "double_blocks.3", "img_attn.qkv"),
        ("lora_unet_double_blocks_3_img_attn_qkv", "flux2", "double_blocks.3", "img_attn_qkv"),
        ("transformer.transformer_blocks.3.attn.to_q", "flux2", "double_blocks.3", "attn.to_q"),
        ("lycoris_single_transformer_blocks_12_attn_to_out", "flux2", "single_blocks.12", "attn_to_out"),
        ("transformer_blocks.3.attn.to_q", "qwen_image", "transformer_blocks.3", "attn.to_q"),
        ("lora_unet_input_blocks_4_1_proj_in", "sdxl", "input_blocks.4", "1_proj_in"),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", "sdxl", "te", "lora_te1_text_model_encoder_layers_0_mlp_fc1"),
        ("diffusion_model.img_in", "flux2", "other", "img_in"),
        ("diffusion_model.final_layer.adaLN_modulation.1", "flux2", "other", "final_layer.adaLN_modulation.1"),
    ],
)
def test_places(name: str, architecture: str, block: str, layer: str) -> None:
    assert place_layer(name, architecture) == (block, layer)


suffixes = st.sampled_from(
    ["lora_A.weight", "lora_B.weight", "alpha", "hada_w1_a", "lokr_w1", "oft_blocks", "diff", "x"]
)
shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)


def test_a_rank_of_zero_is_no_crash(tmp_path: Path) -> None:
    parts = {"lora_A.weight": torch.ones(0, 16), "lora_B.weight": torch.ones(32, 0), "alpha": torch.tensor(2.0)}
    (layer,) = read_lora(read_header(write_lora(tmp_path / "x.safetensors", {"a.b": parts}, peft(lora_alpha=4)))).layers
    assert (layer.rank, layer.scale_source) == (0, "none: the rank is 0")
    without = lora_of("a.b", peft(lora_alpha=4), {"lora_A.weight": (0, 16), "lora_B.weight": (32, 0)})
    assert without.layers[0].scale == 1.0


def test_two_spellings_of_one_tensor() -> None:
    lora = lora_of("a.b", {}, {**AB, "lora_down.weight": (8, 16)})
    assert [(layer.name, layer.format, layer.keys) for layer in lora.layers if not layer.format] == [
        ("a.b", "", ("a.b.lora_down.weight",))
    ]
    assert lora.other_keys == ("a.b.lora_down.weight",)


@settings(max_examples=300, deadline=None)
@given(tensors=st.dictionaries(st.tuples(st.sampled_from("ab"), suffixes).map(".".join), shapes, max_size=8))
def test_any_shapes_are_read(tensors: dict[str, tuple[int, ...]]) -> None:
    lora = read_lora(header_from(tensors))
    assert sorted([*(k for layer in lora.layers for k in layer.keys), *lora.harmless]) == sorted(tensors)
    assert all(layer.format or layer.note for layer in lora.layers)


def test_what_is_not_understood_blurs_no_architecture() -> None:
    """Names that two dozen models share are told apart by all of them together, so that a stray tensor cost it."""
    layers = ("attn.to_q", "attn.add_q_proj", "attn.to_out.0", "ff.net.0.proj", "ff_context.net.2")
    names = [f"transformer.transformer_blocks.{i}.{x}" for i in range(2) for x in layers]
    shapes = {f"{name}.lora_{x}.weight": (4, 128) if x == "A" else (128, 4) for name in names for x in "AB"}
    stray = {"transformer.transformer_blocks.0.attn.to_q.something": (4, 4)}
    found = [identify_lora(read_lora(header_from(each))).architecture for each in (shapes, shapes | stray)]
    assert found[0] == found[1]
    assert found[0] is not None
    assert "hunyuan_video15" in found[0].candidates
