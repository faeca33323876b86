"""HunyuanVideo 1.5 and its super resolution: double blocks alone, three text and image embedders."""

from __future__ import annotations

from ..family import Family
from ..marks import blocks_between, both, has
from ._flux import HIDDEN, NOT_SINGLE
from ._hunyuan import VIDEO15_LINKS

LAYERS = """
txt_in.individual_token_refiner.blocks.#: adaLN_modulation.1 self_attn.qkv self_attn.proj mlp.0 mlp.2
double_blocks.#: img_mod.lin img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_mod.lin txt_attn.qkv txt_attn.proj
    txt_mlp.0 txt_mlp.2
: img_in.proj time_in.in_layer time_in.out_layer guidance_in.in_layer guidance_in.out_layer txt_in.input_embedder
    txt_in.t_embedder.in_layer txt_in.t_embedder.out_layer txt_in.c_embedder.in_layer txt_in.c_embedder.out_layer
    final_layer.linear final_layer.adaLN_modulation.1
: byt5_in.fc1 byt5_in.fc2 byt5_in.fc3 cond_type_embedding vision_in.proj.1 vision_in.proj.3
"""

FAMILY = Family(
    "hunyuan_video15",
    "HunyuanVideo 1.5",
    marks=(
        has(r"^cond_type_embed(?:ding)?$|^vision_in_proj_", "text and picture tokens are told apart"),
        has(r"^context_embedder_2_linear_[123]$|^image_embedder_linear_[12]$", "diffusers names of HunyuanVideo 1.5"),
        both(has(r"^double_blocks_#_(?:img|txt)_", "double blocks"), blocks_between("double_blocks", 21, 54)),
    ),
    against=(NOT_SINGLE,),
    hidden=HIDDEN,
    kinds=("double_blocks",),
    said=r"^hunyuan[-_ ]?video[-_ ]?1[._]?5|^hv_1_5",
    links=VIDEO15_LINKS,
    layers=LAYERS,
    sizes=(2048,),
    depths={"double_blocks": (54,)},
)
