"""What Lumina 2 and Z-Image share."""

from __future__ import annotations

from ..facts import Facts
from ..family import Link, renamed, stacked
from ..marks import Places

QKV = ("to_q", "to_k", "to_v")
HIDDEN: Places = (
    (r"^(?:layers|noise_refiner|context_refiner)_#_(?:attention_(?:qkv|to_[qkv])|feed_forward_w[13])$", 1),
)


def hidden(facts: Facts) -> int | None:
    """The hidden size, by which the two are told apart."""
    return facts.columns(
        r"^(?:layers|noise_refiner|context_refiner)_#_(?:attention_(?:qkv|to_[qkv]|q|k|v)|feed_forward_w[13])$"
    ) or facts.rows(r"^(?:layers|noise_refiner|context_refiner)_#_attention_(?:out|to_out_0)$")


LINKS: tuple[Link, ...] = (
    *(row for block in ("layers.#.", "context_refiner.#.", "noise_refiner.#.") for row in (
        stacked(f"{block}attention.", QKV, f"{block}attention.qkv"),
        *renamed(block, block, {"attention.to_out.0": "attention.out", "attention.norm_q": "attention.q_norm",
                              "attention.norm_k": "attention.k_norm"}),
    )),
    *renamed("", "", {
        "all_final_layer.2-1.linear": "final_layer.linear", "all_x_embedder.2-1": "x_embedder",
        "all_final_layer.2-1.adaLN_modulation.1": "final_layer.adaLN_modulation.1",
    }),
)  # fmt: skip
