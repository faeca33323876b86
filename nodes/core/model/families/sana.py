"""SANA and SANA-Video, in diffusers' names."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import has

LAYERS = """
transformer_blocks.#: attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 attn2.to_q attn2.to_k attn2.to_v
    attn2.to_out.0 ff.conv_inverted ff.conv_depth ff.conv_point ff.conv_temp
: patch_embed.proj time_embed.emb.timestep_embedder.linear_1 time_embed.emb.timestep_embedder.linear_2
    time_embed.linear caption_projection.linear_1 caption_projection.linear_2 proj_out patch_embedding
"""

FAMILY = Family(
    "sana",
    "SANA",
    marks=(has(r"^transformer_blocks_#_ff_conv_(?:inverted|depth|point|temp)$", "feed-forward of convolutions"),),
    hidden=((r"^transformer_blocks_#_attn[12]_to_q$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(1152, 2240),
    depths={"transformer_blocks": (20, 28)},
    advice={"": Sampling(20, 4.5)},
)
