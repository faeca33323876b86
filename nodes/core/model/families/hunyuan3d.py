"""Hunyuan3D 2: FLUX.1's layout at a width of 1024."""

from __future__ import annotations

from ..family import Family
from ..marks import both, columns, has
from ._flux import HIDDEN, NAMES

LAYERS = """
double_blocks.#: img_mod.lin img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_mod.lin txt_attn.qkv txt_attn.proj
    txt_mlp.0 txt_mlp.2
single_blocks.#: linear1 linear2 modulation.lin
: latent_in time_in.in_layer time_in.out_layer cond_in final_layer.linear final_layer.adaLN_modulation.1
"""

FAMILY = Family(
    "hunyuan3d",
    "Hunyuan3D 2",
    marks=(
        has(r"^(?:latent_in|cond_in)$", "shape latents come in"),
        both(NAMES, columns(r"_blocks_#_(?:img_attn_(?:qkv|proj)|linear1)$", (1024,), "hidden size of Hunyuan3D 2")),
    ),
    hidden=HIDDEN,
    kinds=("double_blocks", "single_blocks"),
    layers=LAYERS,
    sizes=(1024,),
    depths={"double_blocks": (8, 16), "single_blocks": (16, 32)},
)
