"""Boogu-Image, made from OmniGen 2. LoRAs use its own names."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
noise_refiner.# ref_image_refiner.# single_stream_layers.#: attn.to_q attn.to_k attn.to_v attn.to_out.0
    feed_forward.linear_1 feed_forward.linear_2 feed_forward.linear_3 norm1.linear
context_refiner.#: attn.to_q attn.to_k attn.to_v attn.to_out.0 feed_forward.linear_1 feed_forward.linear_2
    feed_forward.linear_3
double_stream_layers.#: img_instruct_attn.to_out.0 img_instruct_attn.processor.img_to_q
    img_instruct_attn.processor.img_to_k img_instruct_attn.processor.img_to_v
    img_instruct_attn.processor.instruct_to_q img_instruct_attn.processor.instruct_to_k
    img_instruct_attn.processor.instruct_to_v img_instruct_attn.processor.instruct_out
    img_instruct_attn.processor.img_out img_self_attn.to_q img_self_attn.to_k img_self_attn.to_v
    img_self_attn.to_out.0 img_feed_forward.linear_1 img_feed_forward.linear_2 img_feed_forward.linear_3
    instruct_feed_forward.linear_1 instruct_feed_forward.linear_2 instruct_feed_forward.linear_3 img_norm1.linear
    img_norm2.linear img_norm3.linear instruct_norm1.linear instruct_norm2.linear
: x_embedder ref_image_patch_embedder time_caption_embed.timestep_embedder.linear_1
    time_caption_embed.timestep_embedder.linear_2 time_caption_embed.caption_embedder.1 norm_out.linear_1
    norm_out.linear_2
"""

FAMILY = Family(
    "boogu",
    "Boogu-Image",
    marks=(has(r"^(?:double|single)_stream_layers_#_", "double- and single-stream layers"),),
    hidden=((r"^single_stream_layers_#_attn_to_q$", 1), (r"^double_stream_layers_#_img_self_attn_to_q$", 1)),
    kinds=("noise_refiner", "ref_image_refiner", "context_refiner", "double_stream_layers", "single_stream_layers"),
    layers=LAYERS,
    sizes=(3360,),
    depths={"double_stream_layers": (8,), "single_stream_layers": (32,)},
)
