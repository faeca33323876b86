"""FLUX.2."""

from __future__ import annotations

from ..facts import Facts
from ..family import Family, Sampling, renamed
from ..marks import both, columns, counted, first, has, ratio, times_hidden
from ._flux import ATTENTION, HIDDEN, LINKS, NAMES, NOT_FLUX2, REAL_SIZES, maybe


def _variant(facts: Facts, hidden: int | None) -> str:
    known = {3072: ("FLUX.2 Klein 4B", 5, 20), 4096: ("FLUX.2 Klein 9B", 8, 24), 6144: ("FLUX.2 dev", 8, 48)}
    double = max(facts.blocks.get("double_blocks", 0), facts.blocks.get("transformer_blocks", 0))
    single = max(facts.blocks.get("single_blocks", 0), facts.blocks.get("single_transformer_blocks", 0))
    if hidden in known:
        name, doubles, singles = known[hidden]
        if (double, single) == (doubles, singles) or (not facts.whole and double <= doubles and single <= singles):
            return name
    counts = counted(
        facts,
        (("double_blocks", "transformer_blocks"), "double"),
        (("single_blocks", "single_transformer_blocks"), "single"),
    )
    details = [f"hidden {hidden}"] if hidden else []
    if counts:
        details.append(f"{counts} blocks" if facts.whole else f"up to {counts} blocks")
    return f"FLUX.2 ({', '.join(details)})" if details else "FLUX.2"


def _maybe(facts: Facts) -> str:
    double = max(facts.blocks.get("double_blocks", 0), facts.blocks.get("transformer_blocks", 0))
    single = max(facts.blocks.get("single_blocks", 0), facts.blocks.get("single_transformer_blocks", 0))
    if first(facts, HIDDEN) == 3072 and (double > 5 or single > 20):
        return ""  # Klein 4B, the only FLUX.2 of that size, has 5 and 20
    return maybe("FLUX.2", REAL_SIZES["FLUX.2"])(facts)


LAYERS = """
double_blocks.#: img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_attn.qkv txt_attn.proj txt_mlp.0 txt_mlp.2
single_blocks.#: linear1 linear2
: img_in time_in.in_layer time_in.out_layer guidance_in.in_layer guidance_in.out_layer txt_in final_layer.linear
    final_layer.adaLN_modulation.1 double_stream_modulation_img.lin double_stream_modulation_txt.lin
    single_stream_modulation.lin
"""

ADVICE = (
    "FLUX.2 Klein needs 4 steps at CFG 1 if it is the distilled model, and about 20 to 50 steps at CFG 4 to 5 "
    "if it is the base model; the shapes of the two are the same."
)

FAMILY = Family(
    "flux2", "FLUX.2",
    marks=(
        has(r"^(?:double|single)_stream_modulation", "modulation is shared by all blocks"),
        ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 6, "its MLP is gated: 6 x hidden rows, FLUX.1 has 4 x"),
        ratio(r"^single_blocks_#_linear1$", 9, "single blocks have 9 x hidden rows, FLUX.1 has 7 x"),
        has(r"_attn_to_qkv_mlp_proj$", "diffusers names of FLUX.2"),
        has(r"^transformer_blocks_#_ff(?:_context)?_linear_(?:in|out)$", "diffusers names of FLUX.2"),
        times_hidden(r"^single_blocks_#_linear1$", 0, 9, "single blocks have 9 x hidden rows, FLUX.1 has 7 x", HIDDEN),
        times_hidden(r"^single_blocks_#_linear2$", 1, 4, "single blocks end 4 x hidden wide, FLUX.1's 5 x", HIDDEN),
        times_hidden(r"^double_blocks_#_(?:img|txt)_mlp_2$", 1, 3, "its MLP is 3 x hidden wide, FLUX.1's 4 x", HIDDEN),
        both(columns(r"^(?:txt_in|context_embedder)$", (7680, 12288, 15360), "context width of FLUX.2"),
             NAMES),
    ),
    hints=(both(ATTENTION, _maybe),),
    against=(
        ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 4, ""), ratio(r"^single_blocks_#_linear1$", 7, ""),
        has(r"^double_blocks_#_(?:img|txt)_mod_lin|distilled_guidance_layer|^vector_in", ""),
        has(r"^single_transformer_blocks_#_(?:proj_mlp|proj_out|norm_linear|attn_to_[qkv])$", ""),
        has(r"^transformer_blocks_#_(?:ff(?:_context)?_net|img_mlp|txt_mlp)_", ""), *NOT_FLUX2,
        has(r"processor_(?:qkv|proj)_lora", ""), has(r"individual_token_refiner|img_mlp_fc", ""),
    ),
    hidden=HIDDEN, variant=_variant,
    said=r"^flux\.?-?2",
    links=(
        *LINKS,
        *(link for part, own in (("timestep", "time_in"), ("guidance", "guidance_in")) for link in renamed(
            f"time_guidance_embed.{part}_embedder.", f"{own}.", {"linear_1": "in_layer", "linear_2": "out_layer"})),
        *renamed("", "", {f"{name}.linear": f"{name}.lin" for name in (
            "double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")}),
    ),
    layers=LAYERS,
    sizes=(3072, 4096, 6144),
    depths={"double_blocks": (5, 8), "single_blocks": (20, 24, 48)},
    advice={
        "FLUX.2 Klein": ADVICE,
        "FLUX.2 dev": Sampling(50, guidance=4),
    },
)  # fmt: skip
