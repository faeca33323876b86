"""MiniMax-H3, video with sound. Names of diffusers 0.42.1's ``_convert_non_diffusers_minimax_h3_lora_to_diffusers``.

56 heads of 128 on a hidden size of 5376: the queries are wider than what they are made from. diffusers exchanges the
halves of the gated MLP; DiffSynth keeps q, k and v head by head, as the unpublished shards do.
"""

from __future__ import annotations

from ..facts import Facts
from ..family import HALVES, Family, Link, renamed, stacked
from ..marks import both, columns, has
from ._flux import QKV

LAYERS = """
token_refiner.blocks.#: attn.qkv_proj attn.out_proj mlp.fc1 mlp.fc2
blocks.#: attn.qkv_proj attn.out_proj mlp.fc1 mlp.fc2 adaln_proj.linear
: video_patch_proj audio_patch_proj condition_proj time_embedder.proj_in time_embedder.proj_out
    final_layer.adaln_proj.linear final_layer.video_out final_layer.audio_out
"""

_BLOCKS = (("transformer_blocks.#.", "blocks.#."), ("token_refiner.refiner_blocks.#.", "token_refiner.blocks.#."))
_LINKS: tuple[Link, ...] = (
    *(link for other, own in _BLOCKS for link in (
        stacked(f"{other}attn.", QKV, f"{own}attn.qkv_proj"),
        stacked(f"{own}attn.", ("q_proj", "k_proj", "v_proj"), f"{own}attn.qkv_proj"),
        Link((f"{own}attn.qkv_proj",), (f"{own}attn.qkv_proj",), "heads:128", "diffsynth"),
        Link((f"{other}ff.net.0.proj",), (f"{own}mlp.fc1",), HALVES, "!gate_first"),
        Link((f"{other}ff.net.0.proj",), (f"{own}mlp.fc1",), when="gate_first"),
        *renamed(other, own, {"attn.to_out.0": "attn.out_proj", "ff.net.2": "mlp.fc2",
                              "adaln_proj.linear": "adaln_proj.linear", "attn.norm_q": "attn.q_norm",
                              "attn.norm_k": "attn.k_norm"}),
    )),
    *renamed("", "", {
        "proj_in": "video_patch_proj", "audio_proj_in": "audio_patch_proj", "context_embedder": "condition_proj",
        "time_embedder.linear_1": "time_embedder.proj_in", "time_embedder.linear_2": "time_embedder.proj_out",
        "norm_out.linear": "final_layer.adaln_proj.linear", "proj_out": "final_layer.video_out",
        "audio_proj_out": "final_layer.audio_out"}),
)  # fmt: skip


def _variant(facts: Facts, hidden: int | None) -> str:
    pruned = facts.find(r"^adaln_t_table$") or facts.columns(r"^blocks_#_adaln_proj_linear$") == 8
    return "MiniMax-H3, pruned" if pruned else "MiniMax-H3"


FAMILY = Family(
    "minimax_h3",
    "MiniMax-H3",
    marks=(
        has(r"^(?:token_refiner_)?blocks_#_attn_qkv_proj$", "attention named qkv_proj"),
        has(r"^(?:video|audio)_patch_proj$|^adaln_t_table$", "patches of picture and sound"),
        has(r"^(?:transformer_)?blocks_#_adaln_proj_linear$", "AdaLN named adaln_proj"),
        has(r"^token_refiner_(?:refiner_)?blocks_#_", "a token refiner"),
        both(
            columns(r"^transformer_blocks_#_(?:attn_to_[qkv]|ff_net_#_proj)$", (5376,), "hidden size of MiniMax-H3"),
            has(r"^transformer_blocks_#_", "diffusers names"),
        ),
    ),
    hidden=(
        (r"^(?:token_refiner_)?blocks_#_(?:attn_qkv_proj|mlp_fc1)$", 1),
        (r"^transformer_blocks_#_attn_to_[qkv]$", 1),
        (r"^transformer_blocks_#_ff_net_#_proj$", 1),
        (r"^(?:token_refiner_)?blocks_#_(?:attn_out_proj|mlp_fc2)$", 0),
    ),
    variant=_variant,
    kinds=("token_refiner.blocks", "blocks"),
    links=_LINKS,
    layers=LAYERS,
    sizes=(5376,),
    depths={"blocks": (50,)},
)
