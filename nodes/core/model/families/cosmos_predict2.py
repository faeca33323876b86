"""Cosmos Predict 2."""

from __future__ import annotations

from ..family import Family
from ..marks import both, by_hidden, has

FAMILY = Family(
    "cosmos_predict2", "Cosmos Predict 2",
    marks=(both(has(r"^blocks_#_adaln_modulation_self_attn", "AdaLN with a low-rank table"),
                lambda f: "no language-model adapter" if f.whole and not f.find(r"^llm_adapter_") else ""),),
    hints=(has(r"^blocks_#_(?:(?:self|cross)_attn_[qkv]_proj|mlp_layer[12])$", "names of Cosmos Predict 2"),),
    against=(has(r"^llm_adapter_", ""),),
    hidden=((r"^blocks_#_self_attn_[qkv]_proj$", 1), (r"^blocks_#_mlp_layer1$", 1)),
    variant=by_hidden("Cosmos Predict 2", {2048: "Cosmos Predict 2 2B", 5120: "Cosmos Predict 2 14B"}, "blocks"),
)  # fmt: skip
