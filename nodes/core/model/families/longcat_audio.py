"""LongCat-AudioDiT, in diffusers alone."""

from __future__ import annotations

from ..family import Family

LAYERS = """
blocks.#: self_attn.to_q self_attn.to_k self_attn.to_v self_attn.to_out.0 cross_attn.to_q cross_attn.to_k
    cross_attn.to_v cross_attn.to_out.0 ffn.ff.0 ffn.ff.3
text_conv_layer.#: dwconv pwconv1 pwconv2
: time_embed.time_mlp.0 time_embed.time_mlp.2 input_embed.proj.0 input_embed.proj.2 text_embed.proj.0
    text_embed.proj.2 norm_out.linear proj_out adaln_global_mlp.mlp.1 latent_embed.proj.0 latent_embed.proj.2
    latent_cond_embedder.proj.0 latent_cond_embedder.proj.2
"""

FAMILY = Family(
    "longcat_audio",
    "LongCat-AudioDiT",
    marks=(),
    hidden=((r"^blocks_#_(?:self|cross)_attn_to_[qkv]$", 1),),
    kinds=("blocks",),
    layers=LAYERS,
    sizes=(1536,),
    depths={"blocks": (24,)},
)
