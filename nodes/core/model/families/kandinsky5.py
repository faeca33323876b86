"""Kandinsky 5."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import has

LAYERS = """
text_transformer_blocks.#: text_modulation.out_layer self_attention.to_query self_attention.to_key
    self_attention.to_value self_attention.out_layer feed_forward.in_layer feed_forward.out_layer
visual_transformer_blocks.#: visual_modulation.out_layer self_attention.to_query self_attention.to_key
    self_attention.to_value self_attention.out_layer cross_attention.to_query cross_attention.to_key
    cross_attention.to_value cross_attention.out_layer feed_forward.in_layer feed_forward.out_layer
: time_embeddings.in_layer time_embeddings.out_layer text_embeddings.in_layer pooled_text_embeddings.in_layer
    visual_embeddings.in_layer out_layer.modulation.out_layer out_layer.out_layer
"""

FAMILY = Family(
    "kandinsky5",
    "Kandinsky 5",
    marks=(has(r"^visual_transformer_blocks_#_(?:feed_forward_(?:in|out)_layer|cross_attention_)", "visual blocks"),),
    hidden=((r"^visual_transformer_blocks_#_self_attention_to_query$", 1),),
    layers=LAYERS,
    sizes=(1792, 2560, 4096),
    depths={"text_transformer_blocks": (2, 4), "visual_transformer_blocks": (32, 60)},
    advice={"": Sampling(50, 5)},
)
