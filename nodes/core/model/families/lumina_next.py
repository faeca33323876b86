"""Lumina-Next, in diffusers alone."""

from __future__ import annotations

from ..family import Family

LAYERS = """
layers.#: attn1.to_q attn1.to_k attn1.to_v attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 feed_forward.linear_1
    feed_forward.linear_2 feed_forward.linear_3 norm1.linear
: patch_embedder.proj time_caption_embed.timestep_embedder.linear_1 time_caption_embed.timestep_embedder.linear_2
    time_caption_embed.caption_embedder.1 norm_out.linear_1 norm_out.linear_2
"""

FAMILY = Family(
    "lumina_next",
    "Lumina-Next",
    marks=(),
    hidden=((r"^layers_#_attn1_to_q$", 1),),
    kinds=("layers",),
    layers=LAYERS,
    sizes=(2304,),
    depths={"layers": (24,)},
)
