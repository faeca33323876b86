"""FLUX.3 Klein: blocks of its own for each kind of token, then joint ones. Names of diffusers 0.42.1's converters."""

from __future__ import annotations

from ..family import HALVES, Family, Link, renamed

LAYERS = """
content_mode_blocks.image.# content_mode_blocks.image_cond.# txt_mode_blocks.# single_blocks.#: q_proj k_proj v_proj
    attn_out mlp_in mlp_out
: emb_in.image emb_in.image_cond txt_in time_in.in_layer time_in.out_layer final_layer.image.linear
    final_layer.image.adaLN_modulation.1 early_stream_modulations.image.lin early_stream_modulations.image_cond.lin
    early_stream_modulations.txt.lin single_stream_modulations.image.lin single_stream_modulations.image_cond.lin
    single_stream_modulations.txt.lin
"""

_BLOCKS = (
    ("mode_blocks.image.#.", "content_mode_blocks.image.#."),
    ("mode_blocks.image_cond.#.", "content_mode_blocks.image_cond.#."),
    ("txt_mode_blocks.#.", "txt_mode_blocks.#."), ("single_transformer_blocks.#.", "single_blocks.#."),
)  # fmt: skip
_STREAMS = ("image", "image_cond", "txt")
_LINKS: tuple[Link, ...] = (
    *(link for other, own in _BLOCKS for link in renamed(other, own, {
        "attn.to_q": "q_proj", "attn.to_k": "k_proj", "attn.to_v": "v_proj", "attn.to_out.0": "attn_out",
        "ff.linear_in": "mlp_in", "ff.linear_out": "mlp_out", "attn.norm_q": "norm.query_norm",
        "attn.norm_k": "norm.key_norm"})),
    *renamed("", "", {
        "context_embedder": "txt_in", "timestep_embedder.linear_1": "time_in.in_layer",
        "timestep_embedder.linear_2": "time_in.out_layer", "x_embedders.image": "emb_in.image",
        "target_timestep_embedder.linear_1": "ref_time_in.in_layer",
        "target_timestep_embedder.linear_2": "ref_time_in.out_layer",
        "x_embedders.image_cond": "emb_in.image_cond", "proj_out": "final_layer.image.linear"}),
    *(link for stream in _STREAMS for kind in ("early_stream_modulations", "single_stream_modulations")
      for link in renamed(f"{kind}.{stream}.", f"{kind}.{stream}.", {"linear": "lin"})),
    Link(("norm_out.linear",), ("final_layer.image.adaLN_modulation.1",), HALVES),
)  # fmt: skip

FAMILY = Family(
    "flux3",
    "FLUX.3",
    marks=(),
    hidden=(
        (r"^(?:content_)?(?:mode_blocks_image(?:_cond)?|txt_mode_blocks)_#_(?:attn_to_)?[qkv](?:_proj)?$", 1),
        (r"^single_(?:transformer_)?blocks_#_(?:attn_to_[qkv]|[qkv]_proj)$", 1),
    ),
    kinds=("content_mode_blocks.image", "content_mode_blocks.image_cond", "txt_mode_blocks", "single_blocks"),
    links=_LINKS,
    layers=LAYERS,
    sizes=(3072,),
    depths={"single_blocks": (28,)},
)
