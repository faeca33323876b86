"""Krea 2."""

from __future__ import annotations

from ..family import Family, Link, renamed
from ..marks import has

_D_DOUBLE = "transformer_blocks.#."
_LINKS: tuple[Link, ...] = (
    *(row for own, other in (("blocks.#.", _D_DOUBLE),
                             ("txtfusion.layerwise_blocks.#.", "text_fusion.layerwise_blocks.#."),
                             ("txtfusion.refiner_blocks.#.", "text_fusion.refiner_blocks.#."))
      for row in renamed(other, own, {
          "attn.to_q": "attn.wq", "attn.to_k": "attn.wk", "attn.to_v": "attn.wv", "attn.to_gate": "attn.gate",
          "attn.to_out.0|attn.to_out": "attn.wo", "ff.gate": "mlp.gate", "ff.up": "mlp.up", "ff.down": "mlp.down"})),
    *renamed("", "", {
        "img_in": "first", "time_embed.linear_1": "tmlp.0", "time_embed.linear_2": "tmlp.2",
        "time_mod_proj": "tproj.1", "txt_in.linear_1": "txtmlp.1", "txt_in.linear_2": "txtmlp.3",
        "text_fusion.projector": "txtfusion.projector", "final_layer.linear": "last.linear",
    }),
)  # fmt: skip

FAMILY = Family(
    "krea2", "Krea 2",
    marks=(has(r"^(?:txtfusion|text_fusion)_", "text layers are fused by txtfusion"),
           has(r"^blocks_#_attn_w[qkvo]$", "attention named wq, wk, wv, wo"),
           has(r"^transformer_blocks_#_attn_to_gate$", "gated attention with diffusers names")),
    hidden=((r"^blocks_#_attn_wq$", 1), (r"^first$", 0), (r"^transformer_blocks_#_attn_to_q$", 1)),
    links=_LINKS,
)  # fmt: skip
