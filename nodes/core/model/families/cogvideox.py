"""CogVideoX 1.0 and 1.5, and ConsisID."""

from __future__ import annotations

from ..family import Family, Link, Sampling, renamed
from ..marks import both, has

LAYERS = """
blocks.#: norm1.linear q k v attn_out norm2.linear ff_proj ff_out
: patch_embed.proj patch_embed.text_proj time_embedding_linear_1 time_embedding_linear_2 norm_out.linear proj_out
"""

_LINKS: tuple[Link, ...] = (
    *renamed("transformer_blocks.#.", "blocks.#.", {
        "attn1.to_q": "q", "attn1.to_k": "k", "attn1.to_v": "v", "attn1.to_out.0": "attn_out",
        "norm1.linear": "norm1.linear", "norm2.linear": "norm2.linear", "ff.net.0.proj": "ff_proj",
        "ff.net.2": "ff_out", "attn1.norm_q": "norm_q", "attn1.norm_k": "norm_k"}),
    *renamed("", "", {
        f"{name}.linear_{number}": f"{name}_linear_{number}" for name in ("time_embedding", "ofs_embedding")
        for number in (1, 2)}),
)  # fmt: skip

FAMILY = Family(
    "cogvideox",
    "CogVideoX",
    marks=(
        has(r"^blocks_#_(?:attn_out|ff_proj|ff_out|norm2_linear)$", "names of CogVideoX in ComfyUI"),
        both(
            has(r"^transformer_blocks_#_norm2_linear$", "two modulations a block"),
            has(r"^transformer_blocks_#_attn1_to_[qkv]$", "one attention a block"),
        ),
    ),
    against=(has(r"^transformer_blocks_#_attn2_", ""),),
    hidden=((r"^blocks_#_[qkv]$", 1), (r"^transformer_blocks_#_attn1_to_[qkv]$", 1)),
    kinds=("blocks",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(1920, 3072),
    depths={"blocks": (30, 42)},
    advice={"": Sampling(50, 6)},
)
