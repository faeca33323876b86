"""Nucleus-Image, a mixture of experts, in diffusers alone."""

from __future__ import annotations

from ..family import Family, Sampling

LAYERS = """
transformer_blocks.#: img_mod.1 encoder_proj attn.to_q attn.to_k attn.to_v attn.add_k_proj attn.add_v_proj
    attn.to_out.0 img_mlp.net.0.proj img_mlp.net.2 img_mlp.gate img_mlp.shared_expert.net.0.proj
    img_mlp.shared_expert.net.2
: time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 img_in norm_out.linear
    proj_out
"""

FAMILY = Family(
    "nucleus",
    "Nucleus-Image",
    marks=(),
    hidden=((r"^transformer_blocks_#_attn_to_[qkv]$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(2048,),
    depths={"transformer_blocks": (24,)},
    advice={"": Sampling(50, 4)},
)
