"""PRX, in diffusers alone."""

from __future__ import annotations

from ..family import Family, Sampling

LAYERS = """
blocks.#: attention.img_qkv_proj attention.txt_kv_proj attention.to_out.0 gate_proj up_proj down_proj modulation.lin
: img_in time_in.in_layer time_in.out_layer txt_in final_layer.linear final_layer.adaLN_modulation.1
"""

FAMILY = Family(
    "prx",
    "PRX",
    marks=(),
    hidden=((r"^blocks_#_attention_img_qkv_proj$", 1),),
    kinds=("blocks",),
    layers=LAYERS,
    sizes=(1792,),
    depths={"blocks": (16,)},
    advice={"": Sampling(28, 4)},
)
