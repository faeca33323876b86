"""JoyImage-Edit. LoRAs use its own names."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
double_blocks.#: img_mlp.net.0.proj img_mlp.net.2 txt_mlp.net.0.proj txt_mlp.net.2 attn.img_attn_qkv
    attn.img_attn_proj attn.txt_attn_qkv attn.txt_attn_proj
: img_in condition_embedder.time_embedder.linear_1 condition_embedder.time_embedder.linear_2
    condition_embedder.time_proj condition_embedder.text_embedder.linear_1 condition_embedder.text_embedder.linear_2
    proj_out
"""

FAMILY = Family(
    "joyimage",
    "JoyImage",
    marks=(
        has(r"^double_blocks_#_attn_(?:img|txt)_attn_(?:qkv|proj)$", "attention named attn.img_attn_qkv"),
        has(r"^double_blocks_#_(?:img|txt)_mlp_net_#_", "names of JoyImage"),
    ),
    hidden=((r"^double_blocks_#_attn_(?:img|txt)_attn_(?:qkv|proj)$", 1), (r"^double_blocks_#_img_mlp_net_#_proj$", 1)),
    kinds=("double_blocks",),
    layers=LAYERS,
    sizes=(3072,),
    depths={"double_blocks": (20,)},
)
