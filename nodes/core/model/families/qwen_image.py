"""Qwen-Image."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import blocks_between, both, columns, has
from ._flux import HIDDEN, NOT_SINGLE, maybe

LAYERS = """
transformer_blocks.#: img_mod.1 img_mlp.net.0.proj img_mlp.net.2 txt_mod.1 txt_mlp.net.0.proj txt_mlp.net.2
    attn.to_q attn.to_k attn.to_v attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_out.0 attn.to_add_out
: time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 img_in txt_in
    norm_out.linear proj_out
"""

_NAMES = has(r"^transformer_blocks_#_(?:img|txt)_(?:mlp_net_#|mod_1)", "image and text MLPs named img_mlp, txt_mlp")

FAMILY = Family(
    "qwen_image", "Qwen-Image",
    marks=(
        both(_NAMES, columns(r"^txt_in$", (3584,), "text features of 3584")),
        both(_NAMES, blocks_between("transformer_blocks", 13, 60)),  # Mage-Flow has the same layers in 12 blocks
        both(has(r"^transformer_blocks_#_attn_(?:to_q|add_q_proj)$", "joint attention"),
             blocks_between("transformer_blocks", 39, 60)),
    ),
    hints=(both(has(r"^transformer_blocks_#_attn_(?:to|add)_[qkv]", "joint attention without single blocks"),
                maybe("Qwen-Image", (3072,))),),
    against=(NOT_SINGLE, has(r"^transformer_blocks_#_img_mlp_w[123]$|_ff_linear_", ""),
             has(r"^transformer_blocks_#_ff_(?:context_)?net", "")),
    hidden=HIDDEN,
    layers=LAYERS,
    sizes=(3072,),
    depths={"transformer_blocks": (60,)},
    said=r"^qwen[-_]?image(?![-_]?2)",
    advice={"": Sampling(50, 4)},
)  # fmt: skip
