"""YuE2: a language model that writes music, and the layers beside its own that draw the sound.

ComfyUI loads those that draw as the diffusion model (``comfy/ldm/yue2/model.py``) and the others as its text encoder;
in the writer's checkpoint they are called ``nar_...`` (``models/yue2_mot.py`` of DiffSynth-Studio 2.1.12).
"""

from __future__ import annotations

from ..family import Family, Link, renamed, stacked
from ..marks import has

_BLOCK = "model.layers.#."
_LINKS: tuple[Link, ...] = (
    stacked(f"{_BLOCK}nar_self_attn.", ("q_proj", "k_proj", "v_proj"), f"{_BLOCK}self_attn.qkv_proj"),
    stacked(f"{_BLOCK}nar_mlp.", ("gate_proj", "up_proj"), f"{_BLOCK}mlp.gate_up_proj"),
    *renamed(_BLOCK, _BLOCK, {"nar_self_attn.o_proj": "self_attn.o_proj", "nar_mlp.down_proj": "mlp.down_proj"}),
)

LAYERS = """
model.layers.#: self_attn.qkv_proj self_attn.o_proj mlp.gate_up_proj mlp.down_proj
: vae2llm llm2vae time_embedder.mlp.0 time_embedder.mlp.2
"""

FAMILY = Family(
    "yue2",
    "YuE2",
    marks=(
        has(r"_nar_(?:self_attn|mlp)_", "layers of YuE2 that draw the sound"),
        has(r"^(?:vae2llm|llm2vae)$", "sound goes in and out between a language model's layers"),
    ),
    hidden=((r"^layers_#_(?:nar_)?self_attn_(?:qkv|q)_proj$", 1),),
    kinds=("model.layers",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(2048,),
    depths={"model.layers": (28,)},
)
