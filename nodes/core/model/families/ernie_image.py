"""ERNIE-Image. Trainers and diffusers use the model's own names."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import has

LAYERS = """
layers.#: self_attention.to_q self_attention.to_k self_attention.to_v self_attention.to_out.0 mlp.gate_proj
    mlp.up_proj mlp.linear_fc2
: x_embedder.proj text_proj time_embedding.linear_1 time_embedding.linear_2 adaLN_modulation.1 final_norm.linear
    final_linear
"""

FAMILY = Family(
    "ernie_image",
    "ERNIE-Image",
    marks=(has(r"^layers_#_(?:self_attention_to_(?:[qkv]|out_0)|mlp_linear_fc2)$", "names of ERNIE-Image"),),
    hidden=((r"^layers_#_self_attention_to_[qkv]$", 1), (r"^layers_#_mlp_(?:gate|up)_proj$", 1)),
    kinds=("layers",),
    layers=LAYERS,
    sizes=(4096,),
    depths={"layers": (36,)},
    advice={"": Sampling(50, 4)},
)
