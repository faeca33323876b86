"""PixelDiT and PiD, its decoder for other models' latents."""

from __future__ import annotations

from ..facts import Facts
from ..family import Family
from ..marks import has

LAYERS = """
patch_blocks.#: attn.qkv_x attn.qkv_y attn.proj_x attn.proj_y mlp_x.w1 mlp_x.w2 mlp_x.w3 mlp_y.w1 mlp_y.w2 mlp_y.w3
    adaLN_modulation_img.0 adaLN_modulation_txt.0
pixel_blocks.#: compress_to_attn expand_from_attn attn.qkv attn.proj mlp.fc1 mlp.fc2 adaLN_modulation_msa
    adaLN_modulation_mlp
lq_proj.latent_proj.#: block.2 block.5
lq_proj.gate_modules.#: content_proj
: pixel_embedder.proj s_embedder.proj t_embedder.mlp.0 t_embedder.mlp.2 y_embedder.proj final_layer.linear
    lq_proj.latent_proj.0 lq_proj.latent_proj.2 lq_proj.output_heads.0 lq_proj.output_heads.1 lq_proj.output_heads.2
    lq_proj.output_heads.3 lq_proj.output_heads.4 lq_proj.output_heads.5 lq_proj.output_heads.6
"""


def _variant(facts: Facts, hidden: int | None) -> str:
    return "PiD" if facts.find(r"^lq_proj_") else "PixelDiT"


FAMILY = Family(
    "pixeldit",
    "PixelDiT",
    marks=(has(r"^(?:core_)?(?:patch|pixel)_blocks_#_", "patch and pixel blocks"),),
    hidden=((r"^(?:core_)?patch_blocks_#_attn_qkv_[xy]$", 1),),
    variant=_variant,
    kinds=("patch_blocks", "pixel_blocks"),
    layers=LAYERS,
    sizes=(1536,),
    depths={"patch_blocks": (14,)},
)
