"""Latte, in diffusers alone: PixArt's blocks in turn with blocks over time."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
transformer_blocks.#: attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v
    attn2.to_out.0 ff.net.0.proj ff.net.2
temporal_transformer_blocks.#: attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 ff.net.0.proj ff.net.2
: pos_embed.proj proj_out adaln_single.emb.timestep_embedder.linear_1 adaln_single.emb.timestep_embedder.linear_2
    adaln_single.linear caption_projection.linear_1 caption_projection.linear_2
"""

FAMILY = Family(
    "latte",
    "Latte",
    marks=(has(r"^temporal_transformer_blocks_#_", "blocks over time"),),
    hidden=((r"^(?:temporal_)?transformer_blocks_#_attn1_to_[qkv]$", 1),),
    kinds=("transformer_blocks", "temporal_transformer_blocks"),
    layers=LAYERS,
    sizes=(1152,),
    depths={"transformer_blocks": (28,), "temporal_transformer_blocks": (28,)},
)
