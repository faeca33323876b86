"""SenseNova U1: a language model that draws through a second set of projections (``_mot_gen``) in each layer.

Names of the adapters that its makers published for the 8B MoT model (OpenSenseNova/SenseNova-U1).
"""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
language_model.model.layers.#: self_attn.q_proj_mot_gen self_attn.k_proj_mot_gen self_attn.v_proj_mot_gen
    self_attn.o_proj_mot_gen mlp_mot_gen.gate_proj mlp_mot_gen.up_proj mlp_mot_gen.down_proj
: fm_modules.fm_head.0 fm_modules.fm_head.2
"""
"""Those that draw: the others are called like any language model's, and tell nothing."""

FAMILY = Family(
    "sensenova_u1",
    "SenseNova U1",
    marks=(has(r"_(?:q|k|v|o)_proj_mot_gen$|_mlp_mot_gen_", "projections that draw, named _mot_gen"),),
    hidden=((r"self_attn_q_proj_mot_gen$", 1), (r"mlp_mot_gen_gate_proj$", 1)),
    kinds=("language_model.model.layers",),
    layers=LAYERS,
    depths={"language_model.model.layers": (42,)},
)
