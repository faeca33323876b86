"""HunyuanVideo."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import blocks_between, both, columns, has, ratio
from ._flux import HIDDEN
from ._hunyuan import LINKS

LAYERS = """
txt_in.individual_token_refiner.blocks.#: adaLN_modulation.1 self_attn.qkv self_attn.proj mlp.0 mlp.2
double_blocks.#: img_mod.lin img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_mod.lin txt_attn.qkv txt_attn.proj
    txt_mlp.0 txt_mlp.2
single_blocks.#: linear1 linear2 modulation.lin
: img_in.proj time_in.in_layer time_in.out_layer vector_in.in_layer vector_in.out_layer guidance_in.in_layer
    guidance_in.out_layer txt_in.input_embedder txt_in.t_embedder.in_layer txt_in.t_embedder.out_layer
    txt_in.c_embedder.in_layer txt_in.c_embedder.out_layer final_layer.linear final_layer.adaLN_modulation.1
"""

_WIDE = columns(r"_blocks_#_(?:img_attn_(?:qkv|[qkv]|proj)|linear1|attn_to_[qkv])$", (3072,), "its hidden size")

FAMILY = Family(
    "hunyuan_video", "HunyuanVideo",
    marks=(
        both(has(r"individual_token_refiner|^context_embedder_token_refiner", "text goes through a token refiner"),
             has(r"^vector_in_|^time_text_embed_text_embedder", "takes a pooled text vector")),
        both(has(r"individual_token_refiner|^context_embedder_token|^double_blocks_#_(?:img|txt)_(?:mlp_fc|mod_linear)",
                 "original names of HunyuanVideo"),
             _WIDE),
        both(blocks_between("double_blocks", 20, 20), _WIDE), both(blocks_between("single_blocks", 39, 40), _WIDE),
    ),
    against=(ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 6, ""), has(r"_stream_modulation", ""),
             ratio(r"^single_blocks_#_linear1$", 9, "")),
    hidden=HIDDEN,
    prefixes=("Hunyuan_video_I2V_lora_",),
    said=r"^hunyuan[-_ ]?video(?![-_ ]?1[._]?5)",
    links=LINKS,
    layers=LAYERS,
    sizes=(3072,),
    depths={"double_blocks": (20,), "single_blocks": (40,)},
    advice={"": Sampling(50, guidance=6)},
)  # fmt: skip
