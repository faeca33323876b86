"""What FLUX and its relatives share: layer names, where their hidden size stands, what diffusers calls their layers."""

from __future__ import annotations

from ..facts import Facts
from ..family import HALVES, Link, Rule, renamed, stacked
from ..marks import Places, first, has, times_hidden

NOT_SINGLE = has(r"^single_(?:transformer_)?blocks_", "has single-stream blocks")
HIDDEN: Places = (
    (r"^single_blocks_#_linear1$", 1),
    (r"^double_blocks_#_(?:img|txt)_attn_(?:qkv|proj)$", 1),
    (r"^double_blocks_#_(?:img|txt)_mlp_0$", 1),
    (r"^single_transformer_blocks_#_(?:attn_to_(?:q|k|v|qkv_mlp_proj)|proj_mlp)$", 1),
    (r"^transformer_blocks_#_attn_(?:to|add)_[qkv](?:_proj)?$", 1),
    (r"^transformer_blocks_#_ff_(?:linear_in|net_#_proj)$", 1),
    (r"^single_blocks_#_linear2$", 0),
    (r"processor_qkv_lora\d?$", 1),
    (r"^img_in$", 0),
    (r"^(?:single_blocks_#_linear2|double_blocks_#_(?:img|txt)_attn_proj)$", 0),
    (r"^(?:single_)?transformer_blocks_#_attn_to_(?:out|add_out|out_0|q|k|v)$", 0),
)
NAMES = has(r"^(?:double_blocks_#_(?:img|txt)_attn_|single_blocks_#_linear[12])", "names of the FLUX family")
NAMES_OF_ALL = has(
    r"^(?:double_blocks_#_(?:img|txt)_|single_blocks_#_|(?:single_)?transformer_blocks_#_)", "names of the FLUX family"
)
ATTENTION = has(
    r"^(?:double_blocks_#_(?:img|txt)_attn_|single_blocks_#_linear[12]|(?:single_)?transformer_blocks_#_attn_)",
    "attention of the FLUX family",
)
NOT_FLUX2 = (
    times_hidden(r"^single_blocks_#_linear2$", 1, 5, "single blocks end 5 x hidden wide, FLUX.2's 4 x", HIDDEN),
    times_hidden(r"^double_blocks_#_(?:img|txt)_mlp_2$", 1, 4, "its MLP is 4 x hidden wide, FLUX.2's 3 x", HIDDEN),
)
REAL_SIZES = {"FLUX.1": (3072,), "FLUX.2": (3072, 4096, 6144), "Qwen-Image": (3072,), "SD3": (1536, 2432)}


def maybe(name: str, sizes: tuple[int, ...]) -> Rule:
    """The hidden size is one of the architecture's, or tells nothing because no published model has it."""

    def rule(facts: Facts) -> str:
        hidden = first(facts, HIDDEN)
        if hidden in sizes:
            return f"hidden size {hidden} as {name}"
        published = any(hidden in others for others in REAL_SIZES.values())
        return "" if published else f"hidden size {hidden or 'unknown'}, which no published model has"

    return rule


QKV, ADDED = ("to_q", "to_k", "to_v"), ("add_q_proj", "add_k_proj", "add_v_proj")
_DOUBLE, _SINGLE = "double_blocks.#.", "single_blocks.#."
_D_DOUBLE, _D_SINGLE = "transformer_blocks.#.", "single_transformer_blocks.#."

LINKS: tuple[Link, ...] = (
    stacked(f"{_D_DOUBLE}attn.", QKV, f"{_DOUBLE}img_attn.qkv"),
    stacked(f"{_D_DOUBLE}attn.", ADDED, f"{_DOUBLE}txt_attn.qkv"),
    *renamed(_D_DOUBLE, _DOUBLE, {
        "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
        "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin",
        "ff.net.0.proj|ff.linear_in": "img_mlp.0", "ff.net.2|ff.linear_out": "img_mlp.2",
        "ff_context.net.0.proj|ff_context.linear_in": "txt_mlp.0",
        "ff_context.net.2|ff_context.linear_out": "txt_mlp.2",
        "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
        "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
    }),
    # FLUX.1's MLP is four times the hidden size high; FLUX.2's is six, and diffusers keeps it in one with q, k and v.
    stacked(_D_SINGLE, (*(f"attn.{name}" for name in QKV), "proj_mlp"), f"{_SINGLE}linear1"),
    stacked(_SINGLE, ("linear1_qkv",), f"{_SINGLE}linear1"),
    *renamed(_D_SINGLE, _SINGLE, {
        "attn.to_qkv_mlp_proj": "linear1", "proj_out|attn.to_out": "linear2", "norm.linear": "modulation.lin",
        "attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm",
    }),
    *renamed("", "", {
        "x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear",
        "controlnet_x_embedder": "pos_embed_input",
    }),
    *renamed("", "", {"norm_out.linear": "final_layer.adaLN_modulation.1"}, HALVES),  # scale and shift change places
    *(row for own, other in (("time_in", "timestep"), ("vector_in", "text"), ("guidance_in", "guidance"))
      for row in renamed(f"time_text_embed.{other}_embedder.", f"{own}.", {
          "linear_1": "in_layer", "linear_2": "out_layer"})),
)  # fmt: skip
