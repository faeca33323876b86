"""Qwen-Image 2.1: one stream, with a gated MLP that ComfyUI may put together when it loads the model."""

from __future__ import annotations

from ..family import Family, Link, stacked
from ..marks import has

LAYERS = """
transformer_blocks.#: attn.to_q attn.to_k attn.to_v attn.to_out.0 img_mlp.gate_up img_mlp.out
: txt_in.in_layer txt_in.out_layer time_text_embed.timestep_embedder.linear_1
    time_text_embed.timestep_embedder.linear_2 img_in modulation.1 norm_out.linear proj_out
"""

_LINKS: tuple[Link, ...] = (
    stacked("transformer_blocks.#.img_mlp.", ("gate_layer", "proj"), "transformer_blocks.#.img_mlp.gate_up"),
    # A file of the model as diffusers stores it: the two are apart until ComfyUI loads it.
    Link(("transformer_blocks.#.img_mlp.gate_up",),
         ("transformer_blocks.#.img_mlp.gate_layer", "transformer_blocks.#.img_mlp.proj")),
)  # fmt: skip

FAMILY = Family(
    "qwen_image21",
    "Qwen-Image 2.1",
    marks=(
        has(r"^transformer_blocks_#_img_mlp_(?:gate_up|gate_layer|out|proj)$", "gated MLP of Qwen-Image 2.1"),
        has(r"^txt_in_(?:text_norm|in_layer|out_layer)$|^modulation_1$", "names of Qwen-Image 2.1"),
    ),
    hidden=(
        (r"^transformer_blocks_#_attn_to_[qkv]$", 1),
        (r"^transformer_blocks_#_img_mlp_(?:gate_up|gate_layer|proj)$", 1),
    ),
    kinds=("transformer_blocks",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(4096,),
    depths={"transformer_blocks": (32,)},
)
