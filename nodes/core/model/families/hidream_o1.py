"""HiDream-O1: a language model that paints."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
visual.blocks.#: attn.qkv attn.proj mlp.linear_fc1 mlp.linear_fc2
language_model.layers.#: self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj
    mlp.up_proj mlp.down_proj
: visual.patch_embed.proj visual.merger.linear_fc1 visual.merger.linear_fc2 t_embedder1.mlp.0 t_embedder1.mlp.2
    x_embedder.proj1 x_embedder.proj2 final_layer2.linear
"""

FAMILY = Family(
    "hidream_o1",
    "HiDream-O1",
    marks=(has(r"^t_embedder1_mlp_|^x_embedder_proj[12]$|^final_layer2_linear$", "names of HiDream-O1"),),
    hidden=((r"^language_model_layers_#_self_attn_q_proj$", 1),),
    kinds=("visual.blocks", "language_model.layers"),
    prefixes=("model.",),
    layers=LAYERS,
    sizes=(4096,),
    depths={"language_model.layers": (36,)},
)
