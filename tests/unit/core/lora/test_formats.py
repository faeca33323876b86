"""Formats of today's writers: Scaled OFT, replacements, differences of modulations, alphas that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lora_files import header_from, write_lora
from pack.nodes.core.files.header import read_header
from pack.nodes.core.lora.file import is_lora, read_lora
from pack.nodes.core.lora.layer_norms import layer_delta, load_layer

PAIR = {"lora_A.weight": (4, 16), "lora_B.weight": (32, 4)}
Shapes = dict[str, tuple[int, ...]]


def keyed(name: str, parts: Shapes = PAIR) -> Shapes:
    return {f"{name}.{end}": shape for end, shape in parts.items()}


@pytest.mark.parametrize("end", ["oft_R.scaled_oft", "oft_R.default.scaled_oft", "scaled_oft_metadata"])
@pytest.mark.parametrize("marker", [torch.tensor(True), torch.tensor(1.0), torch.tensor(1.0, dtype=torch.bfloat16)])
def test_scaled_oft_divides_before_the_series(tmp_path: Path, end: str, marker: torch.Tensor) -> None:
    size, generators = 8, torch.randn(2, 28, generator=torch.Generator().manual_seed(3))
    weight = torch.randn(24, 16, generator=torch.Generator().manual_seed(4))

    def delta(parts: dict[str, torch.Tensor]) -> torch.Tensor:
        header = read_header(write_lora(tmp_path / "x.safetensors", {"a.b": parts}))
        (layer,) = read_lora(header).layers
        return layer_delta(layer, load_layer(header, layer), weight)

    scaled = delta({"oft_R.weight": generators, end: marker})
    plain = delta({"oft_R.weight": generators / (2 * (size - 1) ** 0.5)})
    unscaled = delta({"oft_R.weight": generators, end: torch.zeros_like(marker)})
    assert torch.equal(scaled, plain)
    assert torch.equal(unscaled, delta({"oft_R.weight": generators}))
    assert not torch.allclose(scaled, unscaled, atol=0.1)


def test_a_difference_of_modulations_is_one_of_the_parameter() -> None:
    (layer,) = read_lora(header_from({"diffusion_model.blocks.3.diff_m": (1, 6, 16)})).layers
    assert (layer.name, layer.format, layer.parameter) == ("diffusion_model.blocks.3.modulation", "diff", "weight")
    assert layer.keys == ("diffusion_model.blocks.3.diff_m",)


def test_replacements_of_weight_and_bias() -> None:
    weight, bias = read_lora(header_from({"head.set_weight": (64, 16), "head.set_bias": (64,)})).layers
    assert (weight.format, weight.parameter, bias.format, bias.parameter) == ("set", "weight", "set_b", "bias")


@pytest.mark.parametrize("adapter", [None, {"diff": (32, 16)}, {"lokr_w1": (2, 2), "lokr_w2": (16, 8)}])
def test_full_replacements_beside_adapters_are_a_lora_file(adapter: dict[str, tuple[int, ...]] | None) -> None:
    plain: Shapes = {"adaln_t_table": (33, 8)}
    for block in range(6):
        plain |= {f"blocks.{block}.adaln.linear.weight": (96, 8), f"blocks.{block}.adaln.linear.bias": (96,)}
    beside = keyed("blocks.0.attn.qkv") if adapter is None else keyed("blocks.0.attn.qkv", adapter)
    header = header_from({**plain, **beside})
    assert is_lora(header.tensors)
    layers = read_lora(header).layers
    kind = {None: "lora", "diff": "diff", "lokr_w1": "lokr"}[next(iter(adapter), None) if adapter else None]
    assert {(layer.format, layer.parameter, layer.plain) for layer in layers} == {
        (kind, "weight", False), ("set", "weight", True), ("set_b", "bias", True),
    }  # fmt: skip
    assert sum(layer.plain for layer in layers) == len(plain)


@pytest.mark.parametrize(
    "more",
    [
        {"blocks.0.attn.qkv.weight": (32, 16)},  # a model with adapters in it
        {"blocks.0.attn.qkv.qweight": (32, 8)},  # Nunchaku
        {"lora_controlnet": ()},
    ],
)
def test_a_model_with_factors_in_it_is_no_lora(more: Shapes) -> None:
    plain: Shapes = {f"blocks.{block}.mlp.weight": (96, 8) for block in range(6)}
    header = header_from({**plain, **keyed("blocks.0.attn.qkv"), **more})
    assert not is_lora(header.tensors)
    assert not any(layer.plain for layer in read_lora(header).layers)


def test_bare_weights_alone_replace_nothing() -> None:
    """A model that lies in the folder of LoRAs."""
    keys = {"double_blocks.0.img_attn.qkv.weight": (48, 16), "double_blocks.0.img_attn.qkv.bias": (48,)}
    layers = read_lora(header_from(keys)).layers
    assert [(layer.format, layer.plain, layer.keys) for layer in layers] == [("", False, (key,)) for key in keys]
    assert {layer.note for layer in layers} == {"a weight of a model, in a file that is not a LoRA"}


def test_tensors_of_an_unknown_adapter_are_one_layer_that_is_not_understood() -> None:
    unknown = {
        "blocks.0.k.lora_S.weight": (4, 4),
        "blocks.0.k.lora_T.weight": (32, 4),
        "blocks.1.k.vera_lambda_d": (4,),
    }
    layers = [x for x in read_lora(header_from({**keyed("blocks.0.q"), **unknown})).layers if not x.format]
    assert [layer.name for layer in layers] == ["blocks.0.k", "blocks.1.k"]
    assert sorted(key for layer in layers for key in layer.keys) == sorted(unknown)
    assert not any(layer.plain for layer in layers)


@pytest.mark.parametrize("field", ["alpha", "lora_alpha", "network_alpha"])
def test_an_alpha_of_the_metadata_is_divided_by_the_rank_of_each_layer(field: str) -> None:
    wide = {"lora_A.weight": (8, 16), "lora_B.weight": (32, 8)}
    layers = read_lora(header_from({**keyed("a.b"), **keyed("a.c", wide)}, {field: "2"})).layers
    assert [layer.scale for layer in layers] == [0.5, 0.25]


@pytest.mark.parametrize("end", ["", "_a"])
def test_an_alpha_of_ten_billion_is_none(tmp_path: Path, end: str) -> None:
    parts = {"lokr_w1": torch.ones(4, 4), "alpha": torch.tensor(9_999_999_999.0)}
    parts |= (
        {"lokr_w2": torch.ones(4, 4)} if not end else {"lokr_w2_a": torch.ones(4, 2), "lokr_w2_b": torch.ones(2, 4)}
    )
    (layer,) = read_lora(read_header(write_lora(tmp_path / "x.safetensors", {"a.b": parts}))).layers
    assert (layer.scale, layer.alpha) == (1.0, None)


def test_an_alpha_without_a_pair_is_no_layer() -> None:
    lora = read_lora(header_from({**keyed("a.b"), "a.c.alpha": ()}))
    assert [layer.name for layer in lora.layers] == ["a.b"]
    assert lora.harmless == ("a.c.alpha",)
    assert "alpha without a pair" in lora.notes[0]
