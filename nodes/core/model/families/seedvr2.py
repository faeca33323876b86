"""SeedVR2."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
blocks.#: attn.proj_qkv.vid attn.proj_qkv.txt attn.proj_out.vid attn.proj_out.txt mlp.vid.proj_in mlp.vid.proj_out
    mlp.txt.proj_in mlp.txt.proj_out attn.proj_qkv.all attn.proj_out.all mlp.all.proj_in mlp.all.proj_out
: vid_in.proj txt_in emb_in.proj_in emb_in.proj_hid emb_in.proj_out vid_out.proj
"""

FAMILY = Family(
    "seedvr2",
    "SeedVR2",
    marks=(has(r"^blocks_#_(?:attn_proj_(?:qkv|out)|mlp)_(?:vid|txt|all)(?:_|$)", "names of SeedVR2"),),
    hidden=((r"^blocks_#_attn_proj_qkv_(?:vid|txt|all)$", 1),),
    kinds=("blocks",),
    layers=LAYERS,
    sizes=(2560, 3072),
    depths={"blocks": (32, 36)},
)
