"""TripoSplat."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
noise_repo_layers.# context_repo_layers.# repo_layers.#: gate_map content_map final_map
noise_refiner.# context_refiner.# blocks.#: attn.qkv attn.out mlp.mlp.0 mlp.mlp.2
: t_embedder.mlp.0 t_embedder.mlp.2 adaLN_modulation.1 input_layer cond_embedder cond_embedder2 cam_refiner.mlp.0
    cam_refiner.mlp.2 out_layer cam_out_layer
"""

FAMILY = Family(
    "triposplat",
    "TripoSplat",
    marks=(
        has(r"^(?:noise_|context_)?repo_layers_#_", "position layers of TripoSplat"),
        has(r"^cam_out_layer$", "cameras come out"),
    ),
    hidden=((r"^blocks_#_attn_qkv$", 1),),
    kinds=("noise_refiner", "context_refiner", "blocks"),
    layers=LAYERS,
    sizes=(1024,),
    depths={"blocks": (24,)},
)
