"""LTX-Video."""

from __future__ import annotations

from ..family import Family
from ..marks import both, has

FAMILY = Family(
    "ltx", "LTX-Video",
    marks=(has(r"^patchify_proj$|^audio_adaln_single|_audio_attn", "names of LTX"),
           both(has(r"^adaln_single_", "one AdaLN"), has(r"^transformer_blocks_#_attn1_to_q", "video attention")),
           both(has(r"^transformer_blocks_#_attn[12]_to_[qkv]$", "self- and cross-attention blocks"),
                lambda f: "hidden size of LTX"
                if f.columns(r"^transformer_blocks_#_attn1_to_[qkv]$") in (2048, 4096) else "")),
    hints=(has(r"^transformer_blocks_#_attn[12]_to_[qkv]", "self- and cross-attention blocks without a UNet"),),
    against=(has(r"^pos_embed_proj$", ""),),
    hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1), (r"^patchify_proj$", 0)),
    variant=lambda f, h: "LTX-2" if f.find(r"audio") else {2048: "LTX-Video 2B", 4096: "LTX-Video 13B"}.get(
        h or 0, f"LTX-Video (hidden {h})" if h else "LTX-Video"),
)  # fmt: skip
