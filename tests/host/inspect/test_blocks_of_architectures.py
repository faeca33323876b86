"""Block strengths on ComfyUI's own model classes, full-size on the meta device: blocks, short forms and parts are found
from the model, nothing is known beforehand. And the families of the community formats are those models."""

from __future__ import annotations

import re
from typing import Any

import pytest
from model_zoo import CONFIGS, zoo_shapes
from support import some

pytestmark = pytest.mark.host

KINDS: dict[str, dict[str, int]] = {
    "SD 1.5": {"input_blocks": 12, "middle_block": 3, "output_blocks": 12},
    "SDXL": {"input_blocks": 9, "middle_block": 3, "output_blocks": 9},
    "SD3 / SD3.5 medium": {"joint_blocks": 24},
    "FLUX.1": {"double_blocks": 19, "single_blocks": 38},
    "FLUX.2 Klein 4B": {"double_blocks": 5, "single_blocks": 20},
    "FLUX.2 Klein 9B": {"double_blocks": 8, "single_blocks": 24},
    "FLUX.2 dev": {"double_blocks": 8, "single_blocks": 48},
    "Qwen-Image": {"transformer_blocks": 60},
    "Wan 2.x 14B": {"blocks": 40},
    "Z-Image": {"noise_refiner": 2, "context_refiner": 2, "layers": 30},
    "Lumina 2": {"noise_refiner": 2, "context_refiner": 2, "layers": 26},
    "HunyuanVideo": {"txt_in.individual_token_refiner.blocks": 2, "double_blocks": 20, "single_blocks": 40},
    "LTX-Video 2B": {"transformer_blocks": 28},
    "Chroma": {"distilled_guidance_layer.layers": 5, "double_blocks": 19, "single_blocks": 38},
}

# By model and selector: every layer, or slice of one, that the selector names in the first block that it names.
NAMED: list[tuple[str, str, str]] = [
    ("SD 1.5", "in.1.attn",
     "attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0"),
    ("SD 1.5", "out.3.mlp", "ff.net.0.proj ff.net.2"),
    ("SD 1.5", "mid.1.v", "attn1.to_v attn2.to_v"),
    ("SDXL", "out.0.attn2.to_k", "attn2.to_k"),
    ("SD3 / SD3.5 medium", "joint_blocks.3.txt.attn", ""),
    ("SD3 / SD3.5 medium", "joint_blocks.23.txt",
     "context_block.attn.qkv:q context_block.attn.qkv:k context_block.attn.qkv:v "
     "context_block.adaLN_modulation.1"),
    ("SD3 / SD3.5 medium", "joint_blocks.20.img",
     "x_block.attn.qkv:q x_block.attn.qkv:k x_block.attn.qkv:v x_block.attn.proj x_block.mlp.fc1 "
     "x_block.mlp.fc2 x_block.adaLN_modulation.1"),
    ("FLUX.1", "double.0.txt_attn", "txt_attn.qkv:q txt_attn.qkv:k txt_attn.qkv:v txt_attn.proj"),
    ("FLUX.1", "double.7.q", "img_attn.qkv:q txt_attn.qkv:q"),
    ("FLUX.1", "single.37.mlp", "linear1:mlp linear2:mlp"),
    ("FLUX.1", "single.0.attn", "linear1:q linear1:k linear1:v linear2:attn"),
    ("FLUX.2 Klein 4B", "double.4.img",
     "img_attn.qkv:q img_attn.qkv:k img_attn.qkv:v img_attn.proj img_mlp.0 img_mlp.2"),
    ("FLUX.2 Klein 9B", "single.23.v", "linear1:v"),
    ("FLUX.2 dev", "single.47.mlp", "linear1:mlp linear2:mlp"),
    ("Qwen-Image", "transformer_blocks.59.img.attn", ""),
    ("Qwen-Image", "transformer_blocks.59.txt",
     "txt_mod.1 txt_mlp.net.0.proj txt_mlp.net.2 attn.add_q_proj attn.add_k_proj attn.add_v_proj "
     "attn.to_add_out"),
    ("Qwen-Image", "transformer_blocks.0.img",
     "img_mod.1 img_mlp.net.0.proj img_mlp.net.2 attn.to_q attn.to_k attn.to_v attn.to_out.0"),
    ("Qwen-Image", "transformer_blocks.0.q", "attn.to_q attn.add_q_proj"),
    ("Wan 2.x 14B", "blocks.39.cross_attn", "cross_attn.q cross_attn.k cross_attn.v cross_attn.o"),
    ("Wan 2.x 14B", "blocks.0.mlp", "ffn.0 ffn.2"),
    ("Z-Image", "layers.29.attn", "attention.qkv:q attention.qkv:k attention.qkv:v attention.out"),
    ("Z-Image", "context_refiner.1.mlp", "feed_forward.w1 feed_forward.w2 feed_forward.w3"),
    ("Lumina 2", "layers.0.k", "attention.qkv:k"),
    ("HunyuanVideo", "double.19.txt_mlp", "txt_mlp.0 txt_mlp.2"),
    ("HunyuanVideo", "txt_in.individual_token_refiner.blocks.1.attn",
     "self_attn.qkv:q self_attn.qkv:k self_attn.qkv:v self_attn.proj"),
    ("LTX-Video 2B", "transformer_blocks.27.attn2", "attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0"),
    ("LTX-Video 2B", "transformer_blocks.0.mlp", "ff.net.0.proj ff.net.2"),
    ("LTX-2", "transformer_blocks.47.audio_ff", "audio_ff.net.0.proj audio_ff.net.2"),
    ("Chroma", "double.18.mlp", "img_mlp.0 img_mlp.2 txt_mlp.0 txt_mlp.2"),
    ("Chroma", "distilled_guidance_layer.layers.4.in_layer", "in_layer"),
]  # fmt: skip


class Model:
    """The layout of a model, and its matrices with their slices."""

    def __init__(self, name: str) -> None:
        from pack.nodes.core.model.blocks import BlockLayout
        from pack.nodes.core.model.slices import fused_slices

        self.shapes = {f"diffusion_model.{key}": tuple(shape) for key, shape in zoo_shapes(name).items()}
        self.layout = BlockLayout(self.shapes)
        self.units = []
        for place in self.layout.places():
            if len(self.shapes[place.key]) < 2:
                continue
            cuts = fused_slices(place, self.shapes[place.key])
            self.units += [(place, cut.names) for cut in cuts] or [(place, ())]

    def table(self, text: str) -> Any:
        from pack.nodes.core.strengths.text import StrengthTable, parse_block_strengths

        names = [(place, name) for place, cut in self.units for name in cut]
        return StrengthTable(parse_block_strengths(text), self.layout, names)

    def named(self, selector: str) -> list[str]:
        table = self.table(f"all=1, {selector}=0")
        hits = [(place, cut) for place, cut in self.units if table.strength(place, cut) == 0]
        return [place.layer + (f":{cut[0]}" if cut else "") for place, cut in hits if place.block == hits[0][0].block]


@pytest.fixture(scope="module")
def models(comfy_in_process: Any) -> Any:
    found: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in found:
            found[name] = Model(name)
        return found[name]

    return get


@pytest.mark.parametrize("name", KINDS)
def test_containers_are_found(models: Any, name: str) -> None:
    assert models(name).layout.kinds == KINDS[name]


@pytest.mark.parametrize(("name", "selector", "expected"), [row for row in NAMED if row[2]])
def test_selectors_name_these_layers(models: Any, name: str, selector: str, expected: str) -> None:
    shorten = re.compile(r"^\d+\.transformer_blocks\.\d+\.|^transformer_blocks\.\d+\.")
    layers = [shorten.sub("", layer) for layer in models(name).named(selector)]
    assert sorted(set(layers)) == sorted(expected.split())


@pytest.mark.parametrize(("name", "selector"), [row[:2] for row in NAMED if not row[2]])
def test_a_part_of_a_part_is_refused(models: Any, name: str, selector: str) -> None:
    from pack.nodes.core.errors import BlockStrengthError

    with pytest.raises(BlockStrengthError, match="names nothing in this model"):
        models(name).named(selector)


@pytest.mark.parametrize("name", CONFIGS)
def test_attention_and_mlp_share_no_layer_and_the_streams_neither(models: Any, name: str) -> None:
    model = models(name)
    for one, other in (("attn", "mlp"), ("img", "txt")):
        for place, cut in some(model.units):
            names = place.parts | set(cut)
            assert not {one, other} <= names, (place.key, cut)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_block_can_be_named_alone_and_all_together_are_the_star(models: Any, name: str) -> None:
    model = models(name)
    star = model.table("*=0")
    assert {p.key for p, c in model.units if star.strength(p, c) == 0} == {p.key for p, _ in model.units if p.block}
    for kind, count in model.layout.kinds.items():
        table = model.table(f"{kind}.{count - 1}=0")
        hit = {place.block for place, cut in model.units if table.strength(place, cut) == 0}
        assert [str(block) for block in hit] == [f"{kind}.{count - 1}"]


@pytest.mark.parametrize(
    ("family_id", "name"),
    [
        ("sd", "SD 1.5"),
        ("sdxl", "SDXL"),
        ("flux1", "FLUX.1"),
        ("klein4b", "FLUX.2 Klein 4B"),
        ("klein9b", "FLUX.2 Klein 9B"),
        ("hunyuan", "HunyuanVideo"),
        ("wan", "Wan 2.x 14B"),
        ("ltx2", "LTX-2"),
    ],
)
def test_families_of_the_formats_are_these_models(models: Any, family_id: str, name: str) -> None:
    """Same blocks, and in each the same layers; equal transformers inside a block stand once in a family."""
    from pack.nodes.core.strengths.formats.families import family

    repeated = re.compile(r"transformer_blocks\.\d+")

    def layers(places: Any) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for place in places:
            if not place.text_encoder and place.block:
                found.setdefault(str(place.block), set()).add(repeated.sub("transformer_blocks.0", place.layer))
        return found

    ours, real = layers(family(family_id).layout.places()), layers(place for place, _ in models(name).units)
    assert ours.keys() == real.keys()
    assert family(family_id).layout.kinds == models(name).layout.kinds
    for block in real:
        assert real[block] - {"modulation"} <= ours[block], block
