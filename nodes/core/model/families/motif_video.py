"""Motif-Video, in diffusers alone: FLUX.1's names, HunyuanVideo's depths."""

from __future__ import annotations

from ..family import Family
from ._flux import HIDDEN

LAYERS = """
transformer_blocks.#: norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj
    attn.add_k_proj attn.add_v_proj attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2
single_transformer_blocks.#: attn.to_q attn.to_k attn.to_v norm.linear proj_mlp proj_out
: x_embedder.proj context_embedder.linear_1 context_embedder.linear_2 time_text_embed.timestep_embedder.linear_1
    time_text_embed.timestep_embedder.linear_2 norm_out.linear proj_out
"""

FAMILY = Family(
    "motif_video",
    "Motif-Video",
    marks=(),
    hidden=HIDDEN,
    kinds=("transformer_blocks", "single_transformer_blocks"),
    layers=LAYERS,
    sizes=(3072,),
    depths={"transformer_blocks": (20,), "single_transformer_blocks": (40,)},
)
