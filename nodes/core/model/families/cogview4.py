"""CogView 3 Plus and 4, in diffusers alone."""

from __future__ import annotations

from ..family import Family, Sampling

LAYERS = """
transformer_blocks.#: norm1.linear attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 ff.net.0.proj ff.net.2
: patch_embed.proj patch_embed.text_proj time_condition_embed.timestep_embedder.linear_1
    time_condition_embed.timestep_embedder.linear_2 time_condition_embed.condition_embedder.linear_1
    time_condition_embed.condition_embedder.linear_2 norm_out.linear proj_out
"""

FAMILY = Family(
    "cogview4",
    "CogView 4",
    marks=(),
    hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(2560, 4096),
    depths={"transformer_blocks": (28, 30)},
    advice={"": Sampling(50, 5)},
)
