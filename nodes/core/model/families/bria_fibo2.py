"""Bria FIBO 2, in diffusers alone."""

from __future__ import annotations

from ..family import Family

LAYERS = """
noise_refiner.#: attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1 feed_forward.w2
    feed_forward.w3 adaLN_modulation.0
perceiver.layers.#: cross_attention.to_q cross_attention.to_k cross_attention.to_v cross_attention.to_out.0
    self_attention.to_q self_attention.to_k self_attention.to_v self_attention.to_out.0 ffn.w1 ffn.w2 ffn.w3
layers.#: attention.to_q attention.to_k attention.to_v attention.to_out.0 feed_forward.w1 feed_forward.w2
    feed_forward.w3 adaLN_modulation.0 cross_attention.to_q cross_attention.to_k cross_attention.to_v
    cross_attention.to_out.0
: x_embedder t_embedder.mlp.0 t_embedder.mlp.2 final_layer.linear final_layer.adaLN_modulation.1
"""

FAMILY = Family(
    "bria_fibo2",
    "Bria FIBO 2",
    marks=(),
    hidden=((r"^(?:noise_refiner|layers)_#_attention_to_[qkv]$", 1),),
    kinds=("noise_refiner", "perceiver.layers", "layers"),
    layers=LAYERS,
    sizes=(3584,),
    depths={"layers": (44,)},
)
