"""Anima."""

from __future__ import annotations

from ..family import Family, Inserted, renamed
from ..marks import both, has
from ._cosmos import HIDDEN, LINKS, other_context

_TO_40 = Inserted(
    "blocks", 28, 40, (2, 5, 8, 11, 14, 17, 21, 24, 27, 30, 33, 36),
    source="expand_manifest.json of Gazingstars123/Anima-2.9B, as quoted in sd-webui-forge-classic #1401",
    called=("2.9b", "2_9b"),
)  # fmt: skip
_TO_52 = Inserted("blocks", 40, 52, called=("3.8b", "3_8b"))

LAYERS = """
t_embedder.#: linear_1 linear_2
blocks.#: self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.output_proj cross_attn.q_proj
    cross_attn.k_proj cross_attn.v_proj cross_attn.output_proj mlp.layer1 mlp.layer2 adaln_modulation_self_attn.1
    adaln_modulation_self_attn.2 adaln_modulation_cross_attn.1 adaln_modulation_cross_attn.2 adaln_modulation_mlp.1
    adaln_modulation_mlp.2
llm_adapter.blocks.#: self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj cross_attn.q_proj
    cross_attn.k_proj cross_attn.v_proj cross_attn.o_proj mlp.0 mlp.2
: x_embedder.proj.1 final_layer.linear final_layer.adaln_modulation.1 final_layer.adaln_modulation.2
    llm_adapter.embed llm_adapter.out_proj
"""

_ADAPTER_LAYERS = (
    *(f"{attention}.{name}_proj" for attention in ("self_attn", "cross_attn") for name in "qkvo"), "mlp.0", "mlp.2",
)  # fmt: skip
_ADAPTER = (
    *renamed("text_conditioner.blocks.#.", "llm_adapter.blocks.#.", {name: name for name in _ADAPTER_LAYERS}),
    *renamed("text_conditioner.", "llm_adapter.", {"out_proj": "out_proj"}),
)
"""diffusers has a component of its own for it."""

FAMILY = Family(
    "anima", "Anima",
    marks=(has(r"^llm_adapter_", "has an adapter from a language model"),),
    hints=(both(has(r"^blocks_#_(?:self|cross)_attn_[qkv]_proj$", "attention of Cosmos Predict 2"),
                lambda f: "hidden size 2048" if f.columns(r"^blocks_#_self_attn_[qkv]_proj$") == 2048 else ""),),
    against=(other_context,),
    hidden=HIDDEN,
    kinds=("blocks",), insertions=(_TO_40, _TO_52),
    prefixes=("net.",),
    said=r"^anima",
    links=(*LINKS, *_ADAPTER),
    layers=LAYERS,
    sizes=(2048,),
    depths={"blocks": (28, 40, 52)},
)  # fmt: skip
