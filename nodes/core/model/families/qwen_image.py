"""Qwen-Image."""

from __future__ import annotations

from ..family import Family
from ..marks import blocks_between, both, has
from ._flux import HIDDEN, NOT_SINGLE, maybe

FAMILY = Family(
    "qwen_image", "Qwen-Image",
    marks=(
        has(r"^transformer_blocks_#_(?:img|txt)_(?:mlp_net_#|mod_1)", "image and text MLPs named img_mlp, txt_mlp"),
        both(has(r"^transformer_blocks_#_attn_(?:to_q|add_q_proj)$", "joint attention"),
             blocks_between("transformer_blocks", 39, 60)),
    ),
    hints=(both(has(r"^transformer_blocks_#_attn_(?:to|add)_[qkv]", "joint attention without single blocks"),
                maybe("Qwen-Image", (3072,))),),
    against=(NOT_SINGLE, has(r"^transformer_blocks_#_img_mlp_w[123]$|_ff_linear_", ""),
             has(r"^transformer_blocks_#_ff_(?:context_)?net", "")),
    hidden=HIDDEN,
)  # fmt: skip
