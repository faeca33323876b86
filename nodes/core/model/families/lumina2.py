"""Lumina 2."""

from __future__ import annotations

from ..family import Family, Link, Sampling, renamed, stacked
from ..marks import both, by_hidden, has
from ._lumina import HIDDEN, LINKS, QKV, hidden

LAYERS = """
noise_refiner.# layers.#: attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3
    adaLN_modulation.1
context_refiner.#: attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3
: x_embedder t_embedder.mlp.0 t_embedder.mlp.2 cap_embedder.1 final_layer.linear final_layer.adaLN_modulation.1
"""

_LINKS: tuple[Link, ...] = (
    *LINKS,
    *(link for block in ("layers.#.", "context_refiner.#.", "noise_refiner.#.") for link in (
        stacked(f"{block}attn.", QKV, f"{block}attention.qkv"),
        *renamed(block, block, {
            "attn.to_out.0": "attention.out", "feed_forward.linear_1": "feed_forward.w1",
            "feed_forward.linear_2": "feed_forward.w2", "feed_forward.linear_3": "feed_forward.w3",
            "norm1.linear": "adaLN_modulation.1", "attn.norm_q": "attention.q_norm",
            "attn.norm_k": "attention.k_norm"}),
    )),
    *renamed("time_caption_embed.", "", {
        "timestep_embedder.linear_1": "t_embedder.mlp.0", "timestep_embedder.linear_2": "t_embedder.mlp.2",
        "caption_embedder.0": "cap_embedder.0", "caption_embedder.1": "cap_embedder.1"}),
    *renamed("norm_out.", "final_layer.", {"linear_1": "adaLN_modulation.1", "linear_2": "linear"}),
)  # fmt: skip

FAMILY = Family(
    "lumina2", "Lumina 2",
    marks=(both(has(r"^(?:layers|noise_refiner|context_refiner)_#_", "layers with refiners"),
                lambda f: "hidden size 2304, Z-Image has 3840" if hidden(f) == 2304 else ""),),
    hints=(has(r"^(?:layers|noise_refiner)_#_(?:attention_(?:qkv|to_[qkv]|out)|feed_forward_w[123])",
               "names of Lumina 2 and Z-Image"),),
    against=(has(r"^cap_pad_token$", ""), lambda f: "x" if hidden(f) == 3840 else ""),
    hidden=HIDDEN,
    variant=by_hidden("Lumina 2", {2304: "Lumina 2"}, "layers"),
    said=r"^lumina",
    links=_LINKS,
    layers=LAYERS,
    sizes=(2304,),
    depths={"layers": (26,)},
    advice={"": Sampling(30, 4)},
)  # fmt: skip
