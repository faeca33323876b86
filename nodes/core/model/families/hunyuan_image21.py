"""HunyuanImage 2.1 and its refiner: HunyuanVideo's blocks, wider."""

from __future__ import annotations

from ..family import Family
from ..marks import both, columns
from ._flux import HIDDEN
from ._hunyuan import IMAGE_LINKS, NAMES

LAYERS = """
txt_in.individual_token_refiner.blocks.#: adaLN_modulation.1 self_attn.qkv self_attn.proj mlp.0 mlp.2
double_blocks.#: img_mod.lin img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_mod.lin txt_attn.qkv txt_attn.proj
    txt_mlp.0 txt_mlp.2
single_blocks.#: linear1 linear2 modulation.lin
: img_in.proj time_in.in_layer time_in.out_layer guidance_in.in_layer guidance_in.out_layer txt_in.input_embedder
    txt_in.t_embedder.in_layer txt_in.t_embedder.out_layer txt_in.c_embedder.in_layer txt_in.c_embedder.out_layer
    final_layer.linear final_layer.adaLN_modulation.1
: byt5_in.fc1 byt5_in.fc2 byt5_in.fc3 time_r_in.in_layer time_r_in.out_layer
"""

FAMILY = Family(
    "hunyuan_image21",
    "HunyuanImage 2.1",
    marks=(
        both(
            NAMES,
            columns(
                r"_blocks_#_(?:img_attn_(?:qkv|[qkv]|proj)|linear1|attn_to_[qkv])$",
                (3584,),
                "hidden size of HunyuanImage",
            ),
        ),
    ),
    hidden=HIDDEN,
    kinds=("double_blocks", "single_blocks"),
    said=r"^hunyuan[-_ ]?image",
    links=IMAGE_LINKS,
    layers=LAYERS,
    sizes=(3584,),
    depths={"double_blocks": (20,), "single_blocks": (40,)},
)
