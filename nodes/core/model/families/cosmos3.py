"""Cosmos 3 Omni, in diffusers' names."""

from __future__ import annotations

from ..family import Family

LAYERS = """
layers.#: self_attn.to_q self_attn.to_k self_attn.to_v self_attn.to_out self_attn.add_q_proj self_attn.add_k_proj
    self_attn.add_v_proj self_attn.to_add_out mlp.gate_proj mlp.up_proj mlp.down_proj mlp_moe_gen.gate_proj
    mlp_moe_gen.up_proj mlp_moe_gen.down_proj
: lm_head proj_in proj_out time_embedder.linear_1 time_embedder.linear_2
"""

FAMILY = Family(
    "cosmos3",
    "Cosmos 3",
    marks=(),
    hidden=((r"^layers_#_self_attn_to_q$", 1),),
    kinds=("layers",),
    layers=LAYERS,
    sizes=(4096,),
    depths={"layers": (36,)},
)
