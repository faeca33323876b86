"""OmniGen 2."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
noise_refiner.# ref_image_refiner.# layers.#: attn.to_q attn.to_k attn.to_v attn.to_out.0 feed_forward.linear_1
    feed_forward.linear_2 feed_forward.linear_3 norm1.linear
context_refiner.#: attn.to_q attn.to_k attn.to_v attn.to_out.0 feed_forward.linear_1 feed_forward.linear_2
    feed_forward.linear_3
: x_embedder ref_image_patch_embedder time_caption_embed.timestep_embedder.linear_1
    time_caption_embed.timestep_embedder.linear_2 time_caption_embed.caption_embedder.1 norm_out.linear_1
    norm_out.linear_2
"""

FAMILY = Family(
    "omnigen2",
    "OmniGen 2",
    marks=(has(r"^ref_image_(?:refiner|patch_embedder)", "reference pictures come in"),),
    layers=LAYERS,
    sizes=(2520,),
    depths={"layers": (32,)},
)
