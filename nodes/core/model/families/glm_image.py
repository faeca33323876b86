"""GLM-Image, in diffusers alone."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
glyph_projector.net.# prior_projector.net.#: proj
transformer_blocks.#: norm1.linear attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 ff.net.0.proj ff.net.2
: image_projector.proj glyph_projector.net.2 prior_token_embedding prior_projector.net.2
    time_condition_embed.timestep_embedder.linear_1 time_condition_embed.timestep_embedder.linear_2
    time_condition_embed.condition_embedder.linear_1 time_condition_embed.condition_embedder.linear_2
    norm_out.linear proj_out
"""

FAMILY = Family(
    "glm_image",
    "GLM-Image",
    marks=(has(r"^(?:glyph|prior)_projector_net_|^prior_token_embedding$", "glyphs and prior tokens come in"),),
    hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(2560, 4096),
    depths={"transformer_blocks": (30,)},
)
