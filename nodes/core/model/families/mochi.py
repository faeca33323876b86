"""Mochi."""

from __future__ import annotations

from ..family import HALVES, Family, Link, Sampling, renamed, stacked
from ..marks import has
from ._flux import ADDED, QKV

LAYERS = """
blocks.#: mod_x mod_y attn.qkv_x attn.qkv_y attn.proj_x attn.proj_y mlp_x.w1 mlp_x.w2 mlp_y.w1 mlp_y.w2
: x_embedder.proj t_embedder.mlp.0 t_embedder.mlp.2 final_layer.mod final_layer.linear
"""

_LINKS: tuple[Link, ...] = (
    stacked("transformer_blocks.#.attn1.", QKV, "blocks.#.attn.qkv_x"),
    stacked("transformer_blocks.#.attn1.", ADDED, "blocks.#.attn.qkv_y"),
    *renamed("transformer_blocks.#.", "blocks.#.", {
        "attn1.to_out.0": "attn.proj_x", "attn1.to_add_out": "attn.proj_y", "norm1.linear": "mod_x",
        "norm1_context.linear|norm1_context.linear_1": "mod_y", "ff.net.2": "mlp_x.w2",
        "ff_context.net.2": "mlp_y.w2"}),
    Link(("transformer_blocks.#.ff.net.0.proj",), ("blocks.#.mlp_x.w1",), HALVES),
    Link(("transformer_blocks.#.ff_context.net.0.proj",), ("blocks.#.mlp_y.w1",), HALVES),
    *renamed("", "", {"patch_embed.proj": "x_embedder.proj", "proj_out": "final_layer.linear"}),
    *renamed("time_embed.", "", {
        "timestep_embedder.linear_1": "t_embedder.mlp.0", "timestep_embedder.linear_2": "t_embedder.mlp.2",
        "pooler.to_kv": "t5_y_embedder.to_kv", "pooler.to_q": "t5_y_embedder.to_q",
        "pooler.to_out": "t5_y_embedder.to_out", "caption_proj": "t5_yproj"}),
    Link(("norm_out.linear",), ("final_layer.mod",), HALVES),
)  # fmt: skip
"""diffusers' ``convert_mochi_transformer_checkpoint_to_diffusers``: gate and value, shift and scale are exchanged."""

FAMILY = Family("mochi", "Mochi", marks=(has(r"^t5_yproj$", "T5 pooling"),),
    links=_LINKS,
    layers=LAYERS,
    sizes=(3072,),
    depths={"blocks": (48,)},
    advice={"": Sampling(64, 4.5)},
)
