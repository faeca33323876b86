"""What the models of HunyuanVideo's kind share: Tencent's own names, those of diffusers and of musubi-tuner.

Names of diffusers 0.42.1's ``_convert_hunyuan_video_lora_to_diffusers``, which exchanges scale and shift of the last
AdaLN.
"""

from __future__ import annotations

from ..family import HALVES, Link, renamed, stacked
from ..marks import has
from ._flux import ADDED, QKV

_DOUBLE, _SINGLE = "double_blocks.#.", "single_blocks.#."
_D_DOUBLE, _D_SINGLE = "transformer_blocks.#.", "single_transformer_blocks.#."
_REFINER = "txt_in.individual_token_refiner.blocks.#."
_D_REFINER = "context_embedder.token_refiner.refiner_blocks.#."

NAMES = has(
    r"^(?:double_blocks_#_(?:img|txt)_|single_blocks_#_|(?:single_)?transformer_blocks_#_)", "blocks of FLUX's kind"
)

_TENCENT: tuple[Link, ...] = (
    *(link for stream in ("img", "txt") for link in (
        *renamed(f"{_DOUBLE}{stream}_", f"{_DOUBLE}{stream}_", {
            "mod.linear": "mod.lin", "attn_qkv": "attn.qkv", "attn_proj": "attn.proj",
            "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.2"}),
        stacked(f"{_DOUBLE}{stream}_attn_", ("q", "k", "v"), f"{_DOUBLE}{stream}_attn.qkv"),
    )),
    *renamed(_SINGLE, _SINGLE, {"modulation.linear": "modulation.lin"}),
    stacked(_SINGLE, ("linear1_q", "linear1_k", "linear1_v", "linear1_mlp"), f"{_SINGLE}linear1"),
    *renamed(f"{_REFINER}mlp.", f"{_REFINER}mlp.", {"fc1": "0", "fc2": "2"}),
    stacked(f"{_REFINER}self_attn_", ("q", "k", "v"), f"{_REFINER}self_attn.qkv"),
    *renamed(_REFINER, _REFINER, {"self_attn_qkv": "self_attn.qkv", "self_attn_proj": "self_attn.proj"}),
)  # fmt: skip
"""Tencent's own names, as diffusion-pipe writes them, and q, k and v apart as musubi-tuner trains them."""

_DIFFUSERS: tuple[Link, ...] = (
    stacked(f"{_D_DOUBLE}attn.", QKV, f"{_DOUBLE}img_attn.qkv"),
    stacked(f"{_D_DOUBLE}attn.", ADDED, f"{_DOUBLE}txt_attn.qkv"),
    *renamed(_D_DOUBLE, _DOUBLE, {
        "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj", "norm1.linear": "img_mod.lin",
        "norm1_context.linear": "txt_mod.lin", "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
        "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
    }),
    stacked(_D_SINGLE, (*(f"attn.{name}" for name in QKV), "proj_mlp"), f"{_SINGLE}linear1"),
    *renamed(_D_SINGLE, _SINGLE, {"proj_out": "linear2", "norm.linear": "modulation.lin"}),
    stacked(f"{_D_REFINER}attn.", QKV, f"{_REFINER}self_attn.qkv"),
    *renamed(_D_REFINER, _REFINER, {
        "attn.to_out.0": "self_attn.proj", "ff.net.0.proj": "mlp.0", "ff.net.2": "mlp.2",
        "norm_out.linear": "adaLN_modulation.1",
    }),
    *renamed("context_embedder.", "txt_in.", {"proj_in": "input_embedder"}),
    *(link for part, own in (("timestep", "t"), ("text", "c")) for link in renamed(
        f"context_embedder.time_text_embed.{part}_embedder.", f"txt_in.{own}_embedder.", {
            "linear_1": "in_layer", "linear_2": "out_layer"})),
    *renamed("", "", {"x_embedder.proj": "img_in.proj", "proj_out": "final_layer.linear"}),
    Link(("norm_out.linear",), ("final_layer.adaLN_modulation.1",), HALVES),
)  # fmt: skip


def _embedders(pairs: tuple[tuple[str, str], ...]) -> tuple[Link, ...]:
    return tuple(
        link
        for other, own in pairs
        for link in renamed(f"{other}_embedder.", f"{own}.", {"linear_1": "in_layer", "linear_2": "out_layer"})
    )


LINKS: tuple[Link, ...] = (
    *_TENCENT, *_DIFFUSERS,
    *_embedders((("time_text_embed.timestep", "time_in"), ("time_text_embed.text", "vector_in"),
                 ("time_text_embed.guidance", "guidance_in"))),
)  # fmt: skip
_BYT5 = renamed("context_embedder_2.", "byt5_in.", {"linear_1": "fc1", "linear_2": "fc2", "linear_3": "fc3"})
IMAGE_LINKS: tuple[Link, ...] = (
    *_TENCENT, *_DIFFUSERS, *_BYT5,
    *_embedders((("time_guidance_embed.timestep", "time_in"), ("time_guidance_embed.timestep_r", "time_r_in"),
                 ("time_guidance_embed.guidance", "guidance_in"))),
)  # fmt: skip
VIDEO15_LINKS: tuple[Link, ...] = (
    *_TENCENT, *_DIFFUSERS, *_BYT5, *_embedders((("time_embed.timestep", "time_in"),)),
    *renamed("", "", {"cond_type_embed": "cond_type_embedding"}),
    *renamed("image_embedder.", "vision_in.", {"linear_1": "proj.1", "linear_2": "proj.3"}),
)  # fmt: skip
