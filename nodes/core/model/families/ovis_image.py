"""Ovis-Image: FLUX.1's layout with a gated MLP; ComfyUI calls it Flux with yak_mlp."""

from __future__ import annotations

from ..family import Family, Link, Sampling, renamed
from ..marks import has
from ._flux import HIDDEN
from ._flux import LINKS as FLUX_LINKS

LAYERS = """
double_blocks.#: img_mod.lin img_attn.qkv img_attn.proj img_mlp.gate_proj img_mlp.up_proj img_mlp.down_proj txt_mod.lin
    txt_attn.qkv txt_attn.proj txt_mlp.gate_proj txt_mlp.up_proj txt_mlp.down_proj
single_blocks.#: linear1 linear2 modulation.lin
: img_in txt_in time_in.in_layer time_in.out_layer final_layer.linear final_layer.adaLN_modulation.1
"""

_BLOCK = "transformer_blocks.#."
_OWN_MLP = ("img_mlp.0", "img_mlp.2", "txt_mlp.0", "txt_mlp.2", "vector_in.", "guidance_in.")
_LINKS: tuple[Link, ...] = (
    *(link for link in FLUX_LINKS if not any(part in link.model[0] for part in _OWN_MLP)),
    # diffusers' SwiGLU has what is multiplied first and the gate behind it.
    *(Link((f"{_BLOCK}{other}.net.0.proj",), tuple(f"double_blocks.#.{own}.{part}_proj" for part in ("up", "gate")))
      for other, own in (("ff", "img_mlp"), ("ff_context", "txt_mlp"))),
    *renamed(_BLOCK, "double_blocks.#.", {"ff.net.2": "img_mlp.down_proj", "ff_context.net.2": "txt_mlp.down_proj"}),
    *renamed("timestep_embedder.", "time_in.", {"linear_1": "in_layer", "linear_2": "out_layer"}),
)  # fmt: skip

FAMILY = Family(
    "ovis_image",
    "Ovis-Image",
    marks=(
        has(
            r"^double_blocks_#_(?:img|txt)_mlp_(?:gate|up|down)_proj$", "gated MLPs named gate_proj, up_proj, down_proj"
        ),
    ),
    hidden=HIDDEN,
    links=_LINKS,
    kinds=("double_blocks", "single_blocks"),
    layers=LAYERS,
    sizes=(3072,),
    depths={"double_blocks": (6,), "single_blocks": (27,)},
    advice={"": Sampling(50, 5)},
)
