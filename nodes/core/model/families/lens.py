"""Lens."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
transformer_blocks.#: attn.img_qkv attn.txt_qkv attn.to_out.0 attn.to_add_out img_mod.1 img_mlp.w1 img_mlp.w2
    img_mlp.w3 txt_mod.1 txt_mlp.w1 txt_mlp.w2 txt_mlp.w3
: time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 txt_in img_in
    norm_out.linear proj_out
"""

FAMILY = Family("lens", "Lens", marks=(has(r"^transformer_blocks_#_img_mlp_w[123]$", "gated image MLP w1, w2, w3"),),
    layers=LAYERS,
    sizes=(1536,),
    depths={"transformer_blocks": (48,)},
)
