"""MOSS-Image.

Names and sizes of OpenMOSS' checkpoint as DiffSynth-Studio 2.1.12 loads it (``models/moss_image_dit.py``); ComfyUI and
the trainers keep them, as mflux 0.24.0's mapping of LoRAs says.
"""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
text_embedder.blocks.#: qkv proj ffn_gate ffn_up ffn_down
layers.#: proj.q proj.k proj.v proj.o proj.ffn_up_gate proj.ffn_down
: video_embedder text_embedder.proj time_embedding.0 time_embedding.2 shared_block_modulation final_linear_video
    video_head_modulation
"""

FAMILY = Family(
    "moss_image",
    "MOSS-Image",
    marks=(
        has(r"^layers_#_proj_(?:ffn_up_gate|ffn_down|[qkvo])$", "projections of a block together below proj"),
        has(r"^(?:shared_block_modulation|final_linear_video|video_head_modulation)$", "names of MOSS-Image"),
    ),
    hidden=((r"^layers_#_proj_(?:[qkvo]|ffn_up_gate)$", 1),),
    kinds=("text_embedder.blocks", "layers"),
    said=r"^moss[-_]?image",
    layers=LAYERS,
    sizes=(3072,),
    depths={"layers": (42,)},
)
