"""EasyAnimate, in diffusers alone."""

from __future__ import annotations

from ..family import Family, Sampling

LAYERS = """
transformer_blocks.#: norm1.linear attn1.to_q attn1.to_k attn1.to_v attn1.add_k_proj attn1.add_v_proj
    attn1.add_q_proj attn1.to_out.0 attn1.to_add_out norm2.linear ff.net.0.proj ff.net.2 txt_ff.net.0.proj
    txt_ff.net.2
: time_embedding.linear_1 time_embedding.linear_2 proj text_proj.1 norm_out.linear proj_out
"""

FAMILY = Family(
    "easyanimate",
    "EasyAnimate",
    marks=(),
    hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(3072,),
    depths={"transformer_blocks": (48,)},
    advice={"": Sampling(50, 5)},
)
