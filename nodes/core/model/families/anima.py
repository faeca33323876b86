"""Anima."""

from __future__ import annotations

from ..family import Family
from ..marks import both, has

FAMILY = Family(
    "anima", "Anima",
    marks=(has(r"^llm_adapter_", "has an adapter from a language model"),),
    hints=(both(has(r"^blocks_#_(?:self|cross)_attn_[qkv]_proj$", "attention of Cosmos Predict 2"),
                lambda f: "hidden size 2048" if f.columns(r"^blocks_#_self_attn_[qkv]_proj$") == 2048 else ""),),
    hidden=((r"^blocks_#_self_attn_[qkv]_proj$", 1), (r"^blocks_#_mlp_layer1$", 1)),
)  # fmt: skip
