"""DiT of Peebles and Xie, in diffusers alone."""

from __future__ import annotations

from ..family import Family

LAYERS = """
transformer_blocks.#: norm1.emb.timestep_embedder.linear_1 norm1.emb.timestep_embedder.linear_2
    norm1.emb.class_embedder.embedding_table norm1.linear attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0
    ff.net.0.proj ff.net.2
: pos_embed.proj proj_out_1 proj_out_2
"""

FAMILY = Family(
    "dit",
    "DiT",
    marks=(),
    hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(1152,),
    depths={"transformer_blocks": (28,)},
)
