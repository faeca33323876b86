"""SANA-WM, in diffusers alone."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
blocks.#: plucker_proj attn.qkv attn.proj attn.beta_proj attn.gate_proj attn.output_gate attn.conv_k attn.q_proj_cam
    attn.k_proj_cam attn.v_proj_cam attn.out_proj_cam attn.conv_k_cam cross_attn.q_linear cross_attn.kv_linear
    cross_attn.proj mlp.inverted_conv.conv mlp.depth_conv.conv mlp.point_conv.conv mlp.t_conv
: t_embedder.linear_1 t_embedder.linear_2 t_block.1 x_embedder.proj y_embedder.y_proj.fc1 y_embedder.y_proj.fc2
    plucker_embedder.proj raymap_embedder.proj final_layer.linear
"""

FAMILY = Family(
    "sana_wm",
    "SANA-WM",
    marks=(has(r"^blocks_#_(?:plucker_proj|attn_(?:beta_proj|output_gate|[qkv]_proj_cam))$", "camera rays"),),
    hidden=((r"^blocks_#_attn_qkv$", 1),),
    kinds=("blocks",),
    layers=LAYERS,
    sizes=(2240,),
    depths={"blocks": (20,)},
)
