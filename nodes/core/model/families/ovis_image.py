"""Ovis-Image: FLUX.1's layout with a gated MLP; ComfyUI calls it Flux with yak_mlp."""

from __future__ import annotations

from ..family import Family
from ..marks import has
from ._flux import HIDDEN

LAYERS = """
transformer_blocks.#: norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj
    attn.add_k_proj attn.add_v_proj attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2
single_transformer_blocks.#: norm.linear proj_mlp proj_out attn.to_q attn.to_k attn.to_v
: timestep_embedder.linear_1 timestep_embedder.linear_2 context_embedder x_embedder norm_out.linear proj_out
"""

FAMILY = Family(
    "ovis_image",
    "Ovis-Image",
    marks=(
        has(
            r"^double_blocks_#_(?:img|txt)_mlp_(?:gate|up|down)_proj$", "gated MLPs named gate_proj, up_proj, down_proj"
        ),
    ),
    hidden=HIDDEN,
    kinds=("double_blocks", "single_blocks"),
    layers=LAYERS,
    sizes=(3072,),
    depths={"transformer_blocks": (6,), "single_transformer_blocks": (27,)},
)
