"""Bria 3.2 and FIBO, in diffusers alone."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import has
from ._flux import HIDDEN

LAYERS = """
transformer_blocks.#: norm1.linear norm1_context.linear attn.to_q attn.to_k attn.to_v attn.to_out.0 attn.add_q_proj
    attn.add_k_proj attn.add_v_proj attn.to_add_out ff.net.0.proj ff.net.2 ff_context.net.0.proj ff_context.net.2
single_transformer_blocks.#: norm.linear proj_mlp proj_out attn.to_q attn.to_k attn.to_v
caption_projection.#: linear
: time_embed.timestep_embedder.linear_1 time_embed.timestep_embedder.linear_2 context_embedder x_embedder
    norm_out.linear proj_out
"""

FAMILY = Family(
    "bria",
    "Bria",
    marks=(has(r"^caption_projection_#_linear$", "text of every layer is projected (FIBO)"),),
    against=(has(r"^(?:double|single)_stream_blocks_", ""),),
    hidden=HIDDEN,
    kinds=("transformer_blocks", "single_transformer_blocks"),
    layers=LAYERS,
    sizes=(3072,),
    depths={"transformer_blocks": (8, 19), "single_transformer_blocks": (38,)},
    advice={"": Sampling(30, 5)},
)
