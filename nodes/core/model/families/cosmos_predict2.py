"""Cosmos Predict 2."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import both, by_hidden, has
from ._cosmos import HIDDEN, LINKS, other_context

LAYERS = """
t_embedder.#: linear_1 linear_2
blocks.#: self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.output_proj cross_attn.q_proj
    cross_attn.k_proj cross_attn.v_proj cross_attn.output_proj mlp.layer1 mlp.layer2 adaln_modulation_self_attn.1
    adaln_modulation_self_attn.2 adaln_modulation_cross_attn.1 adaln_modulation_cross_attn.2 adaln_modulation_mlp.1
    adaln_modulation_mlp.2
: x_embedder.proj.1 final_layer.linear final_layer.adaln_modulation.1 final_layer.adaln_modulation.2
"""

FAMILY = Family(
    "cosmos_predict2", "Cosmos Predict 2",
    marks=(both(has(r"^blocks_#_adaln_modulation_self_attn", "AdaLN with a low-rank table"),
                lambda f: "no language-model adapter" if f.whole and not f.find(r"^llm_adapter_") else ""),),
    hints=(has(r"^blocks_#_(?:(?:self|cross)_attn_[qkv]_proj|mlp_layer[12])$", "names of Cosmos Predict 2"),),
    against=(other_context, has(r"^llm_adapter_", ""),),
    hidden=HIDDEN,
    variant=by_hidden("Cosmos Predict 2", {2048: "Cosmos Predict 2 2B", 5120: "Cosmos Predict 2 14B"}, "blocks"),
    prefixes=("net.",),
    said=r"^cosmos",
    links=LINKS,
    layers=LAYERS,
    sizes=(2048, 5120),
    depths={"blocks": (28, 36)},
    advice={"": Sampling(35, 7)},
)  # fmt: skip
