"""OmniGen, in diffusers alone: a language model that paints."""

from __future__ import annotations

from ..family import Family

LAYERS = """
layers.#: self_attn.to_q self_attn.to_k self_attn.to_v self_attn.to_out.0 mlp.gate_up_proj mlp.down_proj
: patch_embedding.output_image_proj patch_embedding.input_image_proj time_token.linear_1 time_token.linear_2
    t_embedder.linear_1 t_embedder.linear_2 norm_out.linear proj_out
"""

FAMILY = Family(
    "omnigen",
    "OmniGen",
    marks=(),
    hidden=((r"^layers_#_self_attn_to_q$", 1),),
    kinds=("layers",),
    layers=LAYERS,
    sizes=(3072,),
    depths={"layers": (32,)},
)
