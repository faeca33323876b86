"""PixArt."""

from __future__ import annotations

from ..family import Family, Link, Sampling, renamed, stacked
from ..marks import both, columns, has
from ._flux import QKV

_D_DOUBLE = "transformer_blocks.#."
_LINKS: tuple[Link, ...] = (
    stacked(f"{_D_DOUBLE}attn1.", QKV, "blocks.#.attn.qkv"),
    stacked(f"{_D_DOUBLE}attn2.", ("to_k", "to_v"), "blocks.#.cross_attn.kv_linear"),
    *renamed(_D_DOUBLE, "blocks.#.", {
        "attn2.to_q": "cross_attn.q_linear", "attn1.to_out.0": "attn.proj", "attn2.to_out.0": "cross_attn.proj",
        "ff.net.0.proj": "mlp.fc1", "ff.net.2": "mlp.fc2", "scale_shift_table": "scale_shift_table",
    }),
    *renamed("", "", {
        "scale_shift_table": "final_layer.scale_shift_table",
        "caption_projection.y_embedding": "y_embedder.y_embedding",
        "pos_embed.proj": "x_embedder.proj", "adaln_single.linear": "t_block.1", "proj_out": "final_layer.linear",
        "caption_projection.linear_1": "y_embedder.y_proj.fc1", "caption_projection.linear_2": "y_embedder.y_proj.fc2",
    }),
    *(row for own, other in (("t", "timestep"), ("csize", "resolution"), ("ar", "aspect_ratio"))
      for row in renamed(f"adaln_single.emb.{other}_embedder.", f"{own}_embedder.mlp.", {
          "linear_1": "0", "linear_2": "2"})),
)  # fmt: skip

LAYERS = """
blocks.#: attn.qkv attn.proj cross_attn.q_linear cross_attn.kv_linear cross_attn.proj mlp.fc1 mlp.fc2
: t_block.1 x_embedder.proj t_embedder.mlp.0 t_embedder.mlp.2 y_embedder.y_proj.fc1 y_embedder.y_proj.fc2
    final_layer.linear
"""

FAMILY = Family(
    "pixart", "PixArt",
    marks=(has(r"^blocks_#_cross_attn_(?:q|kv)_linear$", "attention named kv_linear"),
           has(r"^t_block_1$", "one AdaLN table"),
           both(has(r"^adaln_single_", "one AdaLN"),
                columns(r"^transformer_blocks_#_attn[12]_to_[qkv]$", (1152,), "hidden size 1152"))),
    hidden=((r"^blocks_#_attn_(?:qkv|proj)$", 1), (r"^transformer_blocks_#_attn[12]_to_q$", 1)),
    links=_LINKS,
    layers=LAYERS,
    sizes=(1152,),
    depths={"blocks": (28,)},
    advice={"": Sampling(20, 4.5)},
)  # fmt: skip
