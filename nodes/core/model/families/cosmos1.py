"""Cosmos 1 of NVIDIA, text or image to video."""

from __future__ import annotations

from ..family import Family, Link, renamed
from ..marks import has

LAYERS = """
t_embedder.#: linear_1 linear_2
blocks.block#: blocks.0.block.attn.to_q.0 blocks.0.block.attn.to_k.0 blocks.0.block.attn.to_v.0
    blocks.0.block.attn.to_out.0 blocks.0.adaLN_modulation.1 blocks.0.adaLN_modulation.2 blocks.1.block.attn.to_q.0
    blocks.1.block.attn.to_k.0 blocks.1.block.attn.to_v.0 blocks.1.block.attn.to_out.0 blocks.1.adaLN_modulation.1
    blocks.1.adaLN_modulation.2 blocks.2.block.layer1 blocks.2.block.layer2 blocks.2.adaLN_modulation.1
    blocks.2.adaLN_modulation.2
: x_embedder.proj.1 final_layer.linear final_layer.adaLN_modulation.1 final_layer.adaLN_modulation.2
"""

_BLOCK = "blocks.block#.blocks."
_LINKS: tuple[Link, ...] = (
    *(link for attention, number in (("attn1", 0), ("attn2", 1)) for link in renamed(
        f"transformer_blocks.#.{attention}.", f"{_BLOCK}{number}.block.attn.", {
            "to_q": "to_q.0", "to_k": "to_k.0", "to_v": "to_v.0", "to_out.0": "to_out.0"})),
    *(link for number in range(3) for link in renamed(
        f"transformer_blocks.#.norm{number + 1}.", f"{_BLOCK}{number}.adaLN_modulation.", {
            "linear_1": "1", "linear_2": "2"})),
    *renamed("transformer_blocks.#.ff.", f"{_BLOCK}2.block.", {"net.0.proj": "layer1", "net.2": "layer2"}),
    *renamed("", "", {
        "patch_embed.proj": "x_embedder.proj.1", "norm_out.linear_1": "final_layer.adaLN_modulation.1",
        "norm_out.linear_2": "final_layer.adaLN_modulation.2", "proj_out": "final_layer.linear"}),
    *renamed("time_embed.t_embedder.", "t_embedder.1.", {"linear_1": "linear_1", "linear_2": "linear_2"}),
)  # fmt: skip

FAMILY = Family(
    "cosmos1",
    "Cosmos 1",
    marks=(has(r"^blocks_block\d+_blocks_#_", "names of Cosmos 1"),),
    hidden=((r"^blocks_block\d+_blocks_#_block_attn_to_q_0$", 1), (r"^transformer_blocks_#_attn1_to_[qkv]$", 1)),
    kinds=("blocks",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(4096, 5120),
    depths={"blocks": (28, 36)},
)
