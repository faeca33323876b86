"""Allegro, in diffusers alone: the layers of PixArt and LTX at another width."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import both, columns, has

LAYERS = """
transformer_blocks.#: attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v
    attn2.to_out.0 ff.net.0.proj ff.net.2
: pos_embed.proj proj_out adaln_single.emb.timestep_embedder.linear_1 adaln_single.emb.timestep_embedder.linear_2
    adaln_single.linear caption_projection.linear_1 caption_projection.linear_2
"""

FAMILY = Family(
    "allegro",
    "Allegro",
    marks=(
        both(
            has(r"^adaln_single_", "one AdaLN"),
            columns(r"^transformer_blocks_#_attn1_to_[qkv]$", (2304,), "hidden size of Allegro"),
        ),
        columns(r"^transformer_blocks_#_attn[12]_to_[qkv]$", (2304,), "hidden size of Allegro"),
    ),
    hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(2304,),
    depths={"transformer_blocks": (32,)},
    advice={"": Sampling(100, 7.5)},
)
