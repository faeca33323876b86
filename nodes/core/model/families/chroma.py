"""Chroma."""

from __future__ import annotations

from ..family import Family, Sampling, renamed
from ..marks import has
from ._flux import HIDDEN, LINKS

LAYERS = """
distilled_guidance_layer.layers.#: in_layer out_layer
double_blocks.#: img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_attn.qkv txt_attn.proj txt_mlp.0 txt_mlp.2
single_blocks.#: linear1 linear2
nerf_blocks.#: param_generator
: img_in txt_in distilled_guidance_layer.in_proj distilled_guidance_layer.out_proj final_layer.linear img_in_patch
    nerf_image_embedder.embedder.0 nerf_final_layer_conv.conv
"""

FAMILY = Family(
    "chroma", "Chroma",
    marks=(has(r"^distilled_guidance_layer", "modulation comes from a distilled guidance layer"),),
    hidden=HIDDEN,
    variant=lambda f, h: "Chroma Radiance" if f.find(r"^nerf_blocks_") else "Chroma",
    said=r"^chroma",
    links=(
        *LINKS,
        *renamed("distilled_guidance_layer.layers.#.", "distilled_guidance_layer.layers.#.", {
            "linear_1": "in_layer", "linear_2": "out_layer"}),
    ),
    layers=LAYERS,
    sizes=(3072,),
    depths={"double_blocks": (19,), "single_blocks": (38,)},
    advice={"": Sampling(35, 5)},
)  # fmt: skip
