"""MiniMax Music 3, in diffusers' names."""

from __future__ import annotations

from ..family import Family

LAYERS = """
transformer_blocks.#: attn.to_q attn.to_k attn.to_v attn.to_out.0 ff_in ff_out
: time_proj time_embed.linear_1 time_embed.linear_2 preprocess_conv proj_in proj_out postprocess_conv
"""

FAMILY = Family(
    "minimax_music3",
    "MiniMax Music 3",
    marks=(),
    hidden=((r"^transformer_blocks_#_(?:attn_to_[qkv]|ff_in)$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(2048,),
    depths={"transformer_blocks": (36,)},
)
