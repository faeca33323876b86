"""FLUX.1."""

from __future__ import annotations

from ..facts import Facts
from ..family import Family
from ..marks import both, columns, has, ratio
from ._flux import ATTENTION, HIDDEN, LINKS, REAL_SIZES, maybe


def _maybe(facts: Facts) -> str:
    if facts.blocks.get("double_blocks", 0) > 19 or facts.blocks.get("transformer_blocks", 0) > 19:
        return ""
    return maybe("FLUX.1", REAL_SIZES["FLUX.1"])(facts)


LAYERS = """
double_blocks.#: img_mod.lin img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_mod.lin txt_attn.qkv txt_attn.proj
    txt_mlp.0 txt_mlp.2
single_blocks.#: linear1 linear2 modulation.lin
: img_in time_in.in_layer time_in.out_layer vector_in.in_layer vector_in.out_layer guidance_in.in_layer
    guidance_in.out_layer txt_in final_layer.linear final_layer.adaLN_modulation.1
"""

ADVICE = (
    "FLUX.1 dev needs about 28 steps with guidance 3.5, FLUX.1 schnell 4 steps without guidance."
)

FAMILY = Family(
    "flux1", "FLUX.1",
    marks=(
        both(has(r"^vector_in_|^time_text_embed_text_embedder", "takes a pooled text vector"),
             columns(r"^(?:txt_in|context_embedder)$", (4096,), "context width of FLUX.1")),
        has(r"processor_(?:qkv|proj)_lora\d?$", "XLabs processors exist for FLUX.1 alone"),
    ),
    hints=(both(ATTENTION, _maybe),),
    against=(has(r"_stream_modulation|qkv_mlp_proj|individual_token_refiner|_ff(?:_context)?_linear_", ""),
             has(r"^transformer_blocks_#_(?:img|txt)_mlp_", ""), has(r"^pos_embed_proj$", ""),
             ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 6, ""),
             ratio(r"^single_blocks_#_linear1$", 9, "")),
    hidden=HIDDEN,
    said=r"^flux-?1(?!\d)|^flux\.1",
    links=LINKS,
    layers=LAYERS,
    sizes=(3072,),
    depths={"double_blocks": (19,), "single_blocks": (38,)},
    advice={"": ADVICE},
)  # fmt: skip
