"""Z-Image."""

from __future__ import annotations

from ..facts import Facts
from ..family import Family, Sampling
from ..marks import both, has
from ._lumina import HIDDEN, LINKS, hidden

LAYERS = """
noise_refiner.# layers.#: attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3
    adaLN_modulation.0
context_refiner.#: attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3
dec_net.res_blocks.#: mlp.0 mlp.2 adaLN_modulation.1
: x_embedder t_embedder.mlp.0 t_embedder.mlp.2 cap_embedder.1 final_layer.linear final_layer.adaLN_modulation.1
    dec_net.cond_embed dec_net.input_embedder.embedder.0 dec_net.final_layer.linear
"""


def _variant(facts: Facts, hidden: int | None) -> str:
    """Models of the same layers: TwinFlow has a second time, Ming-Image no padding tokens (ComfyUI tells it so too)."""
    if facts.find(r"^t_embedder_2_"):
        return "Z-Image TwinFlow"
    return "Ming-Image" if facts.whole and not facts.find(r"_pad_token$") else "Z-Image"


FAMILY = Family(
    "zimage", "Z-Image",
    marks=(both(has(r"^(?:layers|noise_refiner|context_refiner)_#_", "layers with refiners"),
                lambda f: "hidden size 3840, Lumina 2 has 2304" if hidden(f) == 3840 else ""),
           has(r"^cap_pad_token$", "has padding tokens")),
    hidden=(*HIDDEN, (r"^x_pad_token$", 1)),
    variant=_variant,
    said=r"^z[-_]?image",
    links=LINKS,
    layers=LAYERS,
    sizes=(3840,),
    depths={"layers": (30,)},
    advice={"": Sampling(50, 5)},
)  # fmt: skip
