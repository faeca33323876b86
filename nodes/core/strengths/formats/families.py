"""The layers of the models that community formats of block strengths are made for.

A format without names (``1,0,0,...``) says nothing about its model, so every format here belongs to one family, chosen
by the user and never guessed. A family knows the real layer names of its model and text encoders; a test compares them
with ComfyUI's models. Deep stacks of equal layers (``transformer_blocks.0``, ``.1``, ...) stand once: no format tells
them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...errors import BlockStrengthError
from ...model.blocks import MODEL_PREFIX, BlockLayout, Place
from ..text import BlockStrengths, Rule, parse_block_strengths, understand

_FUSED = {
    "qkv": (("q",), ("k",), ("v",)),
    "linear1": (("q", "attn"), ("k", "attn"), ("v", "attn"), ("mlp",)),
    "linear2": (("attn",), ("mlp",)),
}


@dataclass(frozen=True)
class Unit:
    """The smallest thing that can have a strength: a layer, or a named slice of a fused one."""

    place: Place
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """One kind of model with its text encoders."""

    id: str
    label: str
    layout: BlockLayout
    units: tuple[Unit, ...]

    def units_of(self, selector: str) -> tuple[int, ...]:
        """Positions of the units that a selector names."""
        return _units_of(self.id, selector)

    def values(self, strengths: BlockStrengths) -> tuple[tuple[float, ...], tuple[str, ...]]:
        """The strength of every unit, and the selectors that name nothing in this family."""
        rules: list[Rule] = []
        unknown: list[str] = []
        for item in strengths.items:
            try:
                rules.append(understand(item, self.layout))
            except BlockStrengthError:
                unknown.append(item.selector)
        values = [1.0] * len(self.units)
        for rule in rules:
            hits = [i for i, unit in enumerate(self.units) if rule.matches(unit.place, unit.names, self.layout)]
            for i in hits:
                values[i] = rule.item.value
            if not hits:
                unknown.append(rule.item.selector)
        return tuple(values), tuple(dict.fromkeys(unknown))


@lru_cache(4096)
def _units_of(family_id: str, selector: str) -> tuple[int, ...]:
    chosen = family(family_id)
    rule = understand(parse_block_strengths(f"{selector}=1").items[0], chosen.layout)
    return tuple(i for i, u in enumerate(chosen.units) if rule.matches(u.place, u.names, chosen.layout))


@lru_cache(32)
def family(family_id: str) -> Family:
    """The family of this id; the ids are those of ``FAMILY_LABELS``."""
    model, text = {
        "sd": lambda: (_unet((1, 1, 1, 0), label=False), _clip("clip_l", 12)),
        "sdxl": lambda: (_unet((0, 1, 1), label=True), [*_clip("clip_l", 12), *_clip("clip_g", 32)]),
        "flux1": lambda: (_flux(19, 38, modulated=True), [*_clip("clip_l", 12), *_t5("t5xxl", 24)]),
        "klein4b": lambda: (_flux(5, 20, modulated=False), _qwen("qwen3_4b", 36)),
        "klein9b": lambda: (_flux(8, 24, modulated=False), _qwen("qwen3_8b", 36)),
        "hunyuan": lambda: (_hunyuan(), [*_clip("clip_l", 12), *_qwen("llama", 32)]),
        "wan": lambda: (_wan(40), _t5("umt5xxl", 24)),
        "ltx2": lambda: (_ltx2(48), []),
    }[family_id]()
    keys = [f"{MODEL_PREFIX}{layer}.weight" for layer in model]
    layout = BlockLayout(keys, [f"{layer}.weight" for layer in text])
    units: list[Unit] = []
    for place in layout.places():
        fused = () if place.text_encoder or place.block is None else _FUSED.get(place.layer.rpartition(".")[2], ())
        units.extend(Unit(place, names) for names in fused or ((),))
    return Family(family_id, FAMILY_LABELS[family_id], layout, tuple(units))


FAMILY_LABELS = {
    "sd": "SD 1.5 and 2.x",
    "sdxl": "SDXL",
    "flux1": "FLUX.1",
    "klein4b": "FLUX.2 Klein 4B",
    "klein9b": "FLUX.2 Klein 9B",
    "hunyuan": "HunyuanVideo",
    "wan": "Wan 14B",
    "ltx2": "LTX-2",
}


def _unet(attention: Sequence[int], label: bool) -> list[str]:
    """Layers of a UNet; ``attention`` says for each level whether it has transformers."""
    layers = [*(f"time_embed.{i}" for i in (0, 2)), *((f"label_emb.0.{i}" for i in (0, 2)) if label else ())]
    layers.append("input_blocks.0.0")
    index = 1
    levels = len(attention)
    for level, depth in enumerate(attention):
        for repeat in range(2):
            block = f"input_blocks.{index}"
            layers += _resnet(f"{block}.0", skip=level in (1, 2) and repeat == 0)
            layers += _transformer(f"{block}.1") if depth else []
            index += 1
        if level < levels - 1:
            layers.append(f"input_blocks.{index}.0.op")
            index += 1
    layers += [*_resnet("middle_block.0"), *_transformer("middle_block.1"), *_resnet("middle_block.2")]
    for position, level in enumerate(range(levels - 1, -1, -1)):
        for repeat in range(3):
            block = f"output_blocks.{3 * position + repeat}"
            layers += _resnet(f"{block}.0", skip=True)
            layers += _transformer(f"{block}.1") if attention[level] else []
            if level and repeat == 2:
                layers.append(f"{block}.{2 if attention[level] else 1}.conv")
    return [*layers, "out.0", "out.2"]


def _resnet(name: str, skip: bool = False) -> list[str]:
    parts = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]
    return [f"{name}.{part}" for part in (*parts, *(["skip_connection"] if skip else []))]


def _transformer(name: str) -> list[str]:
    attention = [f"attn{n}.{part}" for n in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")]
    inner = ["norm1", "norm2", "norm3", *attention, "ff.net.0.proj", "ff.net.2"]
    return [f"{name}.{part}" for part in ("norm", "proj_in", *(f"transformer_blocks.0.{x}" for x in inner), "proj_out")]


def _stream(block: str, modulated: bool) -> Iterator[str]:
    for stream in ("img", "txt"):
        parts = ["attn.qkv", "attn.proj", "attn.norm.query_norm", "attn.norm.key_norm", "mlp.0", "mlp.2"]
        for part in (*parts, *(["mod.lin"] if modulated else [])):
            yield f"{block}.{stream}_{part}"


def _flux(double: int, single: int, modulated: bool) -> list[str]:
    embeddings = ("time_in", "vector_in", "guidance_in") if modulated else ("time_in",)
    layers = ["img_in", "txt_in", *(f"{name}.{part}" for name in embeddings for part in ("in_layer", "out_layer"))]
    if not modulated:
        layers += [
            "double_stream_modulation_img.lin",
            "double_stream_modulation_txt.lin",
            "single_stream_modulation.lin",
        ]
    for index in range(double):
        layers += _stream(f"double_blocks.{index}", modulated)
    return [*layers, *_singles(single, modulated), "final_layer.linear", "final_layer.adaLN_modulation.1"]


def _singles(count: int, modulated: bool) -> Iterator[str]:
    parts = ["linear1", "linear2", "norm.query_norm", "norm.key_norm", *(["modulation.lin"] if modulated else [])]
    for index in range(count):
        for part in parts:
            yield f"single_blocks.{index}.{part}"


def _hunyuan() -> list[str]:
    layers = ["img_in.proj", *(f"{name}.{part}" for name in ("time_in", "vector_in", "guidance_in") for part in _MLP)]
    refiner = "txt_in.individual_token_refiner.blocks"
    refined = ("norm1", "norm2", "self_attn.qkv", "self_attn.proj", "mlp.0", "mlp.2", "adaLN_modulation.1")
    layers += [f"txt_in.{part}" for part in ("input_embedder", "t_embedder.in_layer", "c_embedder.in_layer")]
    layers += [f"{refiner}.{index}.{part}" for index in (0, 1) for part in refined]
    for index in range(20):
        layers += _stream(f"double_blocks.{index}", modulated=True)
    return [*layers, *_singles(40, modulated=True), "final_layer.linear", "final_layer.adaLN_modulation.1"]


_MLP = ("in_layer", "out_layer")


def _wan(count: int) -> list[str]:
    attention = [
        f"{a}.{part}" for a in ("self_attn", "cross_attn") for part in ("q", "k", "v", "o", "norm_q", "norm_k")
    ]
    layers = ["patch_embedding", "text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2"]
    layers += ["time_projection.1", "head.head"]
    return layers + [f"blocks.{i}.{part}" for i in range(count) for part in (*attention, "norm3", "ffn.0", "ffn.2")]


def _ltx2(count: int) -> list[str]:
    """Layers of the model with sound, without its text encoder: no format speaks of that."""
    attention = ("q_norm", "k_norm", "to_q", "to_k", "to_v", "to_out.0")
    mlp = ("net.0.proj", "net.2")
    tables = ["", "audio_", "a2v_ca_audio", "a2v_ca_video"]
    inner = [f"scale_shift_table_{t}" if t.startswith("a2v") else f"{t}scale_shift_table" for t in tables]
    crossed = ("audio_to_video_attn", "video_to_audio_attn")
    inner += [f"{a}.{part}" for a in ("attn1", "attn2", "audio_attn1", "audio_attn2", *crossed) for part in attention]
    inner += [f"{ff}.{part}" for ff in ("ff", "audio_ff") for part in mlp]
    layers = ["patchify_proj", "audio_patchify_proj", "proj_out", "audio_proj_out"]
    layers += [f"{side}caption_projection.linear_{n}" for side in ("", "audio_") for n in (1, 2)]
    crossings = ("video_scale_shift", "a2v_gate", "audio_scale_shift", "v2a_gate")
    shared = ("adaln_single", "audio_adaln_single", *(f"av_ca_{name}_adaln_single" for name in crossings))
    embedder = ("emb.timestep_embedder.linear_1", "emb.timestep_embedder.linear_2", "linear")
    layers += [f"{name}.{part}" for name in shared for part in embedder]
    small = [*(f"attn1.{part}" for part in attention), *(f"ff.{part}" for part in mlp)]
    for side in ("audio", "video"):
        layers += [f"{side}_embeddings_connector.transformer_1d_blocks.{i}.{part}" for i in (0, 1) for part in small]
    return layers + [f"transformer_blocks.{i}.{part}" for i in range(count) for part in inner]


def _clip(name: str, count: int) -> list[str]:
    root = f"{name}.transformer.text_model"
    attention = [f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")]
    inner = [*attention, "layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"]
    layers = [f"{root}.encoder.layers.{index}.{part}" for index in range(count) for part in inner]
    outside = ["embeddings.token_embedding", "embeddings.position_embedding", "final_layer_norm"]
    return [*(f"{root}.{part}" for part in outside), *layers, f"{name}.transformer.text_projection"]


def _t5(name: str, count: int) -> list[str]:
    root = f"{name}.transformer"
    inner = [f"layer.0.SelfAttention.{part}" for part in "qkvo"]
    inner += [f"layer.1.DenseReluDense.{part}" for part in ("wi_0", "wi_1", "wo")]
    inner += ["layer.0.layer_norm", "layer.1.layer_norm"]
    layers = [f"{root}.encoder.block.{index}.{part}" for index in range(count) for part in inner]
    return [f"{root}.shared", *layers, f"{root}.encoder.final_layer_norm"]


def _qwen(name: str, count: int) -> list[str]:
    root = f"{name}.transformer.model"
    inner = [*(f"self_attn.{part}_proj" for part in "qkvo"), *(f"mlp.{part}_proj" for part in ("gate", "up", "down"))]
    inner += ["input_layernorm", "post_attention_layernorm"]
    layers = [f"{root}.layers.{index}.{part}" for index in range(count) for part in inner]
    return [f"{root}.embed_tokens", *layers, f"{root}.norm"]
