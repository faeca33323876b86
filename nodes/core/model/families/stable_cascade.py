"""Stable Cascade, stages B and C."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
down_blocks.# up_blocks.#: 0.depthwise 0.channelwise.0 0.channelwise.4 0.mapper 0.mapper_sca 0.attention.attn.to_q
    0.attention.attn.to_k 0.attention.attn.to_v 0.attention.attn.out_proj 0.kv_mapper.1 0.mapper_crp
down_downscalers.#: 1.blocks.0
up_upscalers.#: 1.blocks.1
: effnet_mapper.0 effnet_mapper.2 pixels_mapper.0 pixels_mapper.2 clip_mapper embedding.1 down_downscalers.1.1
    down_downscalers.2.1 down_downscalers.3.1 up_upscalers.0.1 up_upscalers.1.1 up_upscalers.2.1
    up_repeat_mappers.0.0 up_repeat_mappers.0.1 up_repeat_mappers.1.0 up_repeat_mappers.1.1 up_repeat_mappers.2.0
    up_repeat_mappers.3.0 clf.1 clip_txt_mapper clip_txt_pooled_mapper clip_img_mapper
"""

FAMILY = Family(
    "stable_cascade",
    "Stable Cascade",
    marks=(
        has(r"^(?:down|up)_blocks_#_#_(?:channelwise|kv_mapper|attention_attn|mapper)", "names of Stable Cascade"),
        has(r"^clip_(?:txt_|img_)?(?:pooled_)?mapper$|^effnet_mapper_", "names of Stable Cascade"),
    ),
    kinds=("down_blocks", "up_blocks"),
    prefixes=("lora_prior_unet_",),
    layers=LAYERS,
    sizes=(),
    depths={},
)
