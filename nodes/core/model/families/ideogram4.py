"""Ideogram 4. Names of diffusers 0.42.1's ``_convert_non_diffusers_ideogram4_lora_to_diffusers``."""

from __future__ import annotations

from ..family import Family, Link, renamed, stacked
from ..marks import columns, has
from ._flux import QKV

LAYERS = """
layers.#: attention.qkv attention.o feed_forward.w1 feed_forward.w2 feed_forward.w3 adaln_modulation
: input_proj llm_cond_proj t_embedding.mlp_in t_embedding.mlp_out adaln_proj embed_image_indicator
    final_layer.linear final_layer.adaln_modulation
"""

_LINKS: tuple[Link, ...] = (
    stacked("layers.#.attention.", QKV, "layers.#.attention.qkv"),
    *renamed("layers.#.", "layers.#.", {"attention.to_out.0|attention.out": "attention.o"}),
)

FAMILY = Family(
    "ideogram4",
    "Ideogram 4",
    marks=(
        has(r"^embed_image_indicator$|^llm_cond_proj$", "picture tokens are told from text tokens"),
        has(r"^layers_#_(?:adaln_modulation|attention_o)$", "names of Ideogram 4"),
        columns(r"^layers_#_(?:attention_(?:qkv|to_[qkv])|feed_forward_w[13])$", (4608,), "hidden size of Ideogram 4"),
    ),
    hidden=((r"^layers_#_(?:attention_(?:qkv|to_[qkv])|feed_forward_w[13])$", 1),),
    kinds=("layers",),
    prefixes=("conditional_transformer.",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(4608,),
    depths={"layers": (34,)},
)
