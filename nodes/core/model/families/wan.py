"""Wan 2.x."""

from __future__ import annotations

from ..facts import Facts
from ..family import Family
from ..marks import has


def _variant(facts: Facts, hidden: int | None) -> str:
    size = {1536: "Wan 2.1 1.3B", 3072: "Wan 2.2 5B", 5120: "Wan 2.x 14B"}
    name = size.get(hidden or 0, f"Wan 2.x (hidden {hidden})" if hidden else "Wan 2.x")
    if facts.find(r"cross_attn_k_img|add_k_proj"):
        return f"{name}, image to video"
    return f"{name}, VACE" if facts.find(r"^vace_blocks_") else name


FAMILY = Family(
    "wan", "Wan 2.x",
    marks=(has(r"^blocks_#_(?:self|cross)_attn_(?:[qkvo]|[kv]_img)$", "self- and cross-attention named q, k, v, o"),
           has(r"^blocks_#_ffn_(?:[02]$|net_)", "feed-forward named ffn"), has(r"^vace_blocks_#", "VACE blocks"),
           has(r"^head_modulation$", "modulated head")),
    hints=(has(r"^blocks_#_attn[12]_to_[qkv]$", "diffusers names of Wan"),),
    hidden=((r"^blocks_#_self_attn_[qkvo]$", 1), (r"^blocks_#_ffn_0$", 1), (r"^blocks_#_attn1_to_[qkv]$", 1),
            (r"^blocks_#_cross_attn_[qo]$", 1)),
    variant=_variant,
)  # fmt: skip
