"""SD3."""

from __future__ import annotations

from ..family import HALVES, HALVES_OF_TWO, Family, Link, Sampling, renamed, stacked
from ..marks import both, by_hidden, has
from ._flux import ADDED, HIDDEN, NOT_SINGLE, QKV, maybe

_JOINT, _D_DOUBLE = "joint_blocks.#.", "transformer_blocks.#."
_LINKS: tuple[Link, ...] = (
    stacked(f"{_D_DOUBLE}attn.", QKV, f"{_JOINT}x_block.attn.qkv"),
    stacked(f"{_D_DOUBLE}attn.", ADDED, f"{_JOINT}context_block.attn.qkv"),
    stacked(f"{_D_DOUBLE}attn2.", QKV, f"{_JOINT}x_block.attn2.qkv"),
    *renamed(_D_DOUBLE, _JOINT, {
        "norm1.linear": "x_block.adaLN_modulation.1",
        "attn.to_add_out": "context_block.attn.proj", "attn.to_out.0": "x_block.attn.proj",
        "attn2.to_out.0": "x_block.attn2.proj",
        "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
        "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
        "attn.norm_added_q": "context_block.attn.ln_q", "attn.norm_added_k": "context_block.attn.ln_k",
        "attn.norm_q": "x_block.attn.ln_q", "attn.norm_k": "x_block.attn.ln_k",
        "attn2.norm_q": "x_block.attn2.ln_q", "attn2.norm_k": "x_block.attn2.ln_k",
    }),
    # Of the last block, whose context only has scale and shift, and of the last layer they change places.
    *renamed(_D_DOUBLE, _JOINT, {"norm1_context.linear": "context_block.adaLN_modulation.1"}, HALVES_OF_TWO),
    *renamed("", "", {"norm_out.linear": "final_layer.adaLN_modulation.1"}, HALVES),
    *renamed("", "", {
        "context_embedder": "context_embedder", "pos_embed.proj": "x_embedder.proj", "pos_embed.pos_embed": "pos_embed",
        "proj_out": "final_layer.linear",
        "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
        "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
        "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
        "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    }),
)  # fmt: skip

LAYERS = """
joint_blocks.#: context_block.attn.qkv context_block.attn.proj context_block.mlp.fc1 context_block.mlp.fc2
    context_block.adaLN_modulation.1 x_block.attn.qkv x_block.attn.proj x_block.attn2.qkv x_block.attn2.proj
    x_block.mlp.fc1 x_block.mlp.fc2 x_block.adaLN_modulation.1
: x_embedder.proj t_embedder.mlp.0 t_embedder.mlp.2 y_embedder.mlp.0 y_embedder.mlp.2 context_embedder
    final_layer.linear final_layer.adaLN_modulation.1
"""

FAMILY = Family(
    "sd3", "SD3",
    marks=(has(r"^joint_blocks_#_(?:x|context)_block_", "joint blocks"),
           both(has(r"^transformer_blocks_#_attn_(?:to|add)_[qkv]", "joint attention"),
                has(r"^pos_embed_proj$", "diffusers names of SD3"))),
    hints=(both(has(r"^transformer_blocks_#_attn_(?:to|add)_[qkv]", "joint attention"),
                maybe("SD3", (1536, 2432))),),
    against=(NOT_SINGLE, has(r"img_mlp|_ff_linear_", "")),
    hidden=((r"^joint_blocks_#_x_block_attn_(?:qkv|proj)$", 1), (r"^joint_blocks_#_context_block_attn_qkv$", 1),
            *HIDDEN),
    variant=by_hidden("SD3", {1536: "SD3 / SD3.5 medium", 2432: "SD3.5 large"}, "joint_blocks"),
    said=r"^stable-diffusion-3|^sd_?3",
    links=_LINKS,
    layers=LAYERS,
    sizes=(1536, 2432),
    depths={"joint_blocks": (24, 38)},
    advice={"": Sampling(28, 7)},
)  # fmt: skip
