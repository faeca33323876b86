"""Stable Audio Open and Stable Audio 3."""

from __future__ import annotations

from ..family import Family, Link, Sampling, renamed, stacked
from ..marks import has
from ._flux import QKV

LAYERS = """
transformer.layers.#: self_attn.to_qkv self_attn.to_out cross_attn.to_q cross_attn.to_kv cross_attn.to_out
    ff.ff.0.proj ff.ff.2
: timestep_features to_timestep_embed.0 to_timestep_embed.2 to_cond_embed.0 to_cond_embed.2 to_global_embed.0
    to_global_embed.2 transformer.project_in transformer.project_out preprocess_conv postprocess_conv
"""

_LINKS: tuple[Link, ...] = (
    stacked("transformer_blocks.#.attn1.", QKV, "transformer.layers.#.self_attn.to_qkv"),
    stacked("transformer_blocks.#.attn2.", ("to_k", "to_v"), "transformer.layers.#.cross_attn.to_kv"),
    *renamed("transformer_blocks.#.", "transformer.layers.#.", {
        "attn1.to_out.0": "self_attn.to_out", "attn2.to_q": "cross_attn.to_q", "attn2.to_out.0": "cross_attn.to_out",
        "ff.net.0.proj|ff.proj_in": "ff.ff.0.proj", "ff.net.2|ff.proj_out": "ff.ff.2",
        **{f"{attention}.{name}": f"{attention}.{name}" for attention, names in (
            ("self_attn", ("to_qkv", "to_out")), ("cross_attn", ("to_q", "to_kv", "to_out"))) for name in names},
        "to_local_embed.0": "to_local_embed.0", "to_local_embed.2": "to_local_embed.2"}),
    *renamed("transformer.layers.#.", "transformer.layers.#.", {name: name for name in (
        "self_attn.to_qkv", "self_attn.to_out", "cross_attn.to_q", "cross_attn.to_kv", "cross_attn.to_out",
        "ff.ff.0.proj", "ff.ff.2", "to_local_embed.0", "to_local_embed.2")}),
    *renamed("transformer.", "transformer.", {"project_in": "project_in", "project_out": "project_out"}),
    *renamed("", "transformer.", {"proj_in": "project_in", "proj_out": "project_out"}),
    *renamed("", "", {f"{other}.{number}": f"{own}.{number}" for number in (0, 2) for other, own in (
        ("timestep_proj", "to_timestep_embed"), ("global_proj", "to_global_embed"),
        ("cross_attention_proj", "to_cond_embed"))}),
    *renamed("global_cond_embedder.", "transformer.global_cond_embedder.", {"0": "0", "2": "2"}),
)  # fmt: skip

FAMILY = Family(
    "stable_audio",
    "Stable Audio",
    marks=(
        has(r"^(?:transformer_)?layers_#_(?:self_attn_to_qkv|cross_attn_to_kv|ff_ff_)", "names of Stable Audio"),
        has(r"^to_(?:timestep|cond|global)_embed_", "conditions of Stable Audio"),
        has(r"^transformer_blocks_#_(?:self_attn_to_qkv|cross_attn_to_kv)$", "diffusers names of Stable Audio 3"),
    ),
    hidden=((r"layers_#_self_attn_to_(?:qkv|out)$", 1), (r"^transformer_blocks_#_(?:attn1_to_q|self_attn_to_qkv)$", 1)),
    kinds=("transformer.layers",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(1536,),
    depths={"transformer.layers": (24,)},
    advice={"": Sampling(100, 7)},
)
