"""FLUX.1."""

from __future__ import annotations

from ..facts import Facts
from ..family import Family
from ..marks import blocks_between, both, has, ratio, times_hidden
from ._flux import ATTENTION, HIDDEN, LINKS, NAMES, NOT_FLUX2, REAL_SIZES, maybe


def _maybe(facts: Facts) -> str:
    if facts.blocks.get("double_blocks", 0) > 19 or facts.blocks.get("transformer_blocks", 0) > 19:
        return ""
    return maybe("FLUX.1", REAL_SIZES["FLUX.1"])(facts)


FAMILY = Family(
    "flux1", "FLUX.1",
    marks=(
        ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 4, "its MLP is not gated: 4 x hidden rows, FLUX.2 has 6 x"),
        ratio(r"^single_blocks_#_linear1$", 7, "single blocks have 7 x hidden rows, FLUX.2 has 9 x"),
        has(r"^(?:double_blocks_#_(?:img|txt)_mod_lin|single_blocks_#_modulation_lin)",
            "each block has its own modulation"),
        has(r"^vector_in_|^time_text_embed_text_embedder", "takes a pooled text vector"),
        has(r"^single_transformer_blocks_#_(?:proj_mlp|proj_out|norm_linear)$", "diffusers names of FLUX.1"),
        has(r"processor_(?:qkv|proj)_lora\d?$", "XLabs processors exist for FLUX.1 alone"),
        both(has(r"^single_transformer_blocks_#_attn_to_q$", "single blocks with separate q"),
             has(r"^transformer_blocks_#_ff(?:_context)?_net_#_", "plain feed-forward")),
        times_hidden(r"^single_blocks_#_linear1$", 0, 7, "single blocks have 7 x hidden rows, FLUX.2 has 9 x", HIDDEN),
        *NOT_FLUX2,
        both(NAMES, blocks_between("double_blocks", 9, 19)),
    ),
    hints=(both(ATTENTION, _maybe),),
    against=(has(r"_stream_modulation|qkv_mlp_proj|individual_token_refiner|_ff(?:_context)?_linear_", ""),
             has(r"^transformer_blocks_#_(?:img|txt)_mlp_", ""), has(r"^pos_embed_proj$", ""),
             ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 6, ""),
             ratio(r"^single_blocks_#_linear1$", 9, "")),
    hidden=HIDDEN,
    links=LINKS,
)  # fmt: skip
