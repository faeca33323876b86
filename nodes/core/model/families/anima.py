"""Anima."""

from __future__ import annotations

from ..family import Family, Inserted
from ..marks import both, has

_TO_40 = Inserted(
    "blocks", 28, 40, (2, 5, 8, 11, 14, 17, 21, 24, 27, 30, 33, 36),
    source="expand_manifest.json of Gazingstars123/Anima-2.9B, as quoted in sd-webui-forge-classic #1401",
    called=("2.9b", "2_9b"),
)  # fmt: skip
_TO_52 = Inserted("blocks", 40, 52, called=("3.8b", "3_8b"))

FAMILY = Family(
    "anima", "Anima",
    marks=(has(r"^llm_adapter_", "has an adapter from a language model"),),
    hints=(both(has(r"^blocks_#_(?:self|cross)_attn_[qkv]_proj$", "attention of Cosmos Predict 2"),
                lambda f: "hidden size 2048" if f.columns(r"^blocks_#_self_attn_[qkv]_proj$") == 2048 else ""),),
    hidden=((r"^blocks_#_self_attn_[qkv]_proj$", 1), (r"^blocks_#_mlp_layer1$", 1)),
    kinds=("blocks",), depths={"blocks": (28, 40, 52)}, insertions=(_TO_40, _TO_52),
)  # fmt: skip
