"""LongCat-Image: the blocks of FLUX.1 with Qwen's text features (3584 wide) and no pooled vector."""

from __future__ import annotations

from ..family import Family, Link, Sampling, renamed
from ..marks import both, columns
from ._flux import HIDDEN, NAMES_OF_ALL
from ._flux import LINKS as FLUX_LINKS

LAYERS = """
double_blocks.#: img_mod.lin img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_mod.lin txt_attn.qkv txt_attn.proj
    txt_mlp.0 txt_mlp.2
single_blocks.#: linear1 linear2 modulation.lin
: img_in time_in.in_layer time_in.out_layer txt_in final_layer.linear
    final_layer.adaLN_modulation.1
"""

_LINKS: tuple[Link, ...] = (
    *(link for link in FLUX_LINKS if not link.model[0].startswith("vector_in.")),
    *renamed("time_embed.timestep_embedder.", "time_in.", {"linear_1": "in_layer", "linear_2": "out_layer"}),
)

FAMILY = Family(
    "longcat_image",
    "LongCat-Image",
    marks=(both(columns(r"^(?:txt_in|context_embedder)$", (3584,), "context width of LongCat-Image"), NAMES_OF_ALL),),
    hidden=HIDDEN,
    kinds=("double_blocks", "single_blocks"),
    said=r"^longcat",
    links=_LINKS,
    layers=LAYERS,
    sizes=(3072,),
    depths={"double_blocks": (19,), "single_blocks": (38,)},
    advice={"": Sampling(50, 4.5)},
)
