"""What Cosmos Predict 2 and Anima, which is made from it, share.

Names of diffusers' converter of Cosmos 2 and of OneTrainer's ``AnimaModel``; both agree.
"""

from __future__ import annotations

from ..facts import Facts
from ..family import Link, renamed
from ..marks import Places

HIDDEN: Places = (
    (r"^blocks_#_self_attn_[qkv]_proj$", 1), (r"^blocks_#_mlp_layer1$", 1),
    (r"^transformer_blocks_#_attn1_to_[qkv]$", 1), (r"^blocks_#_cross_attn_(?:q|output)_proj$", 1),
    (r"^transformer_blocks_#_attn2_to_q$", 1),
)  # fmt: skip


def other_context(facts: Facts) -> str:
    """Keys and values are made from what other families attend to, and not from 1024 columns."""
    context = facts.columns(r"^transformer_blocks_#_attn2_to_[kv]$", r"^blocks_#_cross_attn_[kv]_proj$")
    return "x" if context in (1152, 2048, 2240, 2304, 4096) else ""


_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out.0": "output_proj", "norm_q": "q_norm",
              "norm_k": "k_norm"}  # fmt: skip
_MODULATIONS = (("norm1", "self_attn"), ("norm2", "cross_attn"), ("norm3", "mlp"))
LINKS: tuple[Link, ...] = (
    *(link for other, own in (("attn1", "self_attn"), ("attn2", "cross_attn"))
      for link in renamed(f"transformer_blocks.#.{other}.", f"blocks.#.{own}.", _ATTENTION)),
    *(link for other, own in _MODULATIONS for link in renamed(
        f"transformer_blocks.#.{other}.", f"blocks.#.adaln_modulation_{own}.", {"linear_1": "1", "linear_2": "2"})),
    *renamed("transformer_blocks.#.", "blocks.#.", {"ff.net.0.proj": "mlp.layer1", "ff.net.2": "mlp.layer2"}),
    *renamed("", "", {
        "patch_embed.proj": "x_embedder.proj.1", "time_embed.norm": "t_embedding_norm",
        "norm_out.linear_1": "final_layer.adaln_modulation.1", "norm_out.linear_2": "final_layer.adaln_modulation.2",
        "proj_out": "final_layer.linear"}),
    *renamed("time_embed.t_embedder.", "t_embedder.1.", {"linear_1": "linear_1", "linear_2": "linear_2"}),
)  # fmt: skip
