"""Mage-Flow: Qwen-Image's layers in 12 blocks."""

from __future__ import annotations

from ..family import Family
from ..marks import both, columns, has
from ._flux import HIDDEN

LAYERS = """
transformer_blocks.#: img_mod.1 img_mlp.net.0.proj img_mlp.net.2 txt_mod.1 txt_mlp.net.0.proj txt_mlp.net.2
    attn.to_q attn.to_k attn.to_v attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_out.0 attn.to_add_out
: time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 img_in txt_in
    norm_out.linear proj_out
"""

_QWEN = has(r"^transformer_blocks_#_(?:img|txt)_(?:mlp_net_#|mod_1)", "names of Qwen-Image")

FAMILY = Family(
    "mage_flow",
    "Mage-Flow",
    marks=(
        both(columns(r"^txt_in$", (2560,), "text features of 2560"), _QWEN),
        both(columns(r"^img_in$", (128,), "128 latent values"), _QWEN),
    ),
    hidden=HIDDEN,
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(3072,),
    depths={"transformer_blocks": (12,)},
    said=r"^mage",
)
