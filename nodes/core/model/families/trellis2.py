"""Trellis 2, and Pixal3D, which adds a projection of picture features to its cross attention.

Four models in one: where there is something, its shape in two resolutions, and its surface.
"""

from __future__ import annotations

from ..family import Family
from ..marks import has

_MODELS = ("structure_model", "img2shape_512", "img2shape", "shape2txt")

LAYERS = """
structure_model.blocks.# img2shape_512.blocks.# img2shape.blocks.# shape2txt.blocks.#: self_attn.to_qkv self_attn.to_out
    cross_attn.to_q cross_attn.to_kv cross_attn.to_out cross_attn.cross_attn_block.to_q
    cross_attn.cross_attn_block.to_kv cross_attn.cross_attn_block.to_out cross_attn.proj_linear mlp.mlp.0 mlp.mlp.2
structure_model img2shape_512 img2shape shape2txt: t_embedder.mlp.0 t_embedder.mlp.2 adaLN_modulation.1 input_layer
    out_layer
"""

FAMILY = Family(
    "trellis2",
    "Trellis 2",
    marks=(has(r"^(?:structure_model|img2shape(?:_512)?|shape2txt)_", "structure, shape and surface, each a model"),),
    hidden=((r"^(?:structure_model|img2shape(?:_512)?|shape2txt)_blocks_#_self_attn_to_qkv$", 1),),
    variant=lambda f, h: "Pixal3D" if f.find(r"_cross_attn_proj_linear$") else "Trellis 2",
    kinds=tuple(f"{model}.blocks" for model in _MODELS),
    layers=LAYERS,
    sizes=(1536,),
    depths={f"{model}.blocks": (30,) for model in _MODELS},
)
