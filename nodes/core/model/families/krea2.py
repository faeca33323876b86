"""Krea 2."""

from __future__ import annotations

from ..family import Family, Link, Sampling, renamed
from ..marks import has

_D_DOUBLE = "transformer_blocks.#."
_BLOCKS = (
    (_D_DOUBLE, "blocks.#."), ("text_fusion.layerwise_blocks.#.", "txtfusion.layerwise_blocks.#."),
    ("text_fusion.refiner_blocks.#.", "txtfusion.refiner_blocks.#."),
)  # fmt: skip
_LINKS: tuple[Link, ...] = (
    *(row for other, own in _BLOCKS for row in renamed(other, own, {
          "attn.to_q": "attn.wq", "attn.to_k": "attn.wk", "attn.to_v": "attn.wv", "attn.to_gate": "attn.gate",
          "attn.to_out.0|attn.to_out": "attn.wo", "ff.gate": "mlp.gate", "ff.up": "mlp.up", "ff.down": "mlp.down"})),
    # SimpleTuner's fused projections: q of its own width, k and v share the rest.
    *(Link((f"{other}attn.to_qkv",), tuple(f"{own}attn.w{letter}" for letter in "qkv")) for other, own in _BLOCKS),
    *renamed("", "", {
        "img_in": "first", "time_embed.linear_1": "tmlp.0", "time_embed.linear_2": "tmlp.2",
        "time_mod_proj": "tproj.1", "txt_in.linear_1": "txtmlp.1", "txt_in.linear_2": "txtmlp.3",
        "text_fusion.projector": "txtfusion.projector", "final_layer.linear": "last.linear",
    }),
)  # fmt: skip

LAYERS = """
blocks.# txtfusion.layerwise_blocks.# txtfusion.refiner_blocks.#: attn.wq attn.wk attn.wv attn.gate attn.wo mlp.gate
    mlp.up mlp.down
: first tmlp.0 tmlp.2 txtfusion.projector txtmlp.1 txtmlp.3 last.linear tproj.1
"""

FAMILY = Family(
    "krea2", "Krea 2",
    marks=(has(r"^(?:txtfusion|text_fusion)_", "text layers are fused by txtfusion"),
           has(r"^blocks_#_attn_w[qkvo]$", "attention named wq, wk, wv, wo"),
           has(r"^transformer_blocks_#_attn_to_gate$", "gated attention with diffusers names")),
    hidden=((r"^blocks_#_attn_wq$", 1), (r"^first$", 0), (r"^transformer_blocks_#_attn_to_q$", 1)),
    said=r"^krea",
    links=_LINKS,
    layers=LAYERS,
    sizes=(6144,),
    depths={"blocks": (28,)},
    advice={"": Sampling(28, 4.5)},
)  # fmt: skip
