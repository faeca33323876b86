"""Hunyuan3D 2.1."""

from __future__ import annotations

from ..family import Family

LAYERS = """
blocks.#: attn1.to_q attn1.to_k attn1.to_v attn1.out_proj attn2.to_q attn2.to_k attn2.to_v attn2.out_proj mlp.fc1
    mlp.fc2 skip_linear moe.experts.0.net.0.proj moe.experts.0.net.2 moe.gate moe.shared_experts.net.0.proj
    moe.shared_experts.net.2
: x_embedder t_embedder.mlp.0 t_embedder.mlp.2 t_embedder.cond_proj final_layer.linear
"""

FAMILY = Family(
    "hunyuan3d21",
    "Hunyuan3D 2.1",
    marks=(),
    hidden=((r"^blocks_#_attn[12]_to_q$", 1),),
    kinds=("blocks",),
    layers=LAYERS,
    sizes=(2048,),
    depths={"blocks": (21,)},
)
