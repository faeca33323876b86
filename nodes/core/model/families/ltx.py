"""LTX-Video."""

from __future__ import annotations

from ..family import Family, Link, Sampling, renamed
from ..marks import both, columns, has

LAYERS = """
transformer_blocks.#: attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 ff.net.0.proj ff.net.2 attn2.to_q attn2.to_k
    attn2.to_v attn2.to_out.0
: patchify_proj adaln_single.emb.timestep_embedder.linear_1 adaln_single.emb.timestep_embedder.linear_2
    adaln_single.linear caption_projection.linear_1 caption_projection.linear_2 proj_out
"""

_LINKS: tuple[Link, ...] = (
    *renamed("", "", {"proj_in": "patchify_proj"}),
    *renamed("time_embed.", "adaln_single.", {
        name: name for name in ("linear", "emb.timestep_embedder.linear_1", "emb.timestep_embedder.linear_2")}),
)  # fmt: skip

FAMILY = Family(
    "ltx", "LTX-Video",
    marks=(has(r"^patchify_proj$|^audio_adaln_single|_audio_attn", "names of LTX"),
           both(has(r"^adaln_single_", "one AdaLN"), has(r"^transformer_blocks_#_attn1_to_q", "video attention")),
           ),
    against=(has(r"^pos_embed_proj$", ""), columns(r"^transformer_blocks_#_attn2_to_[kv]$", (1024,), "")),
    hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1), (r"^patchify_proj$", 0)),
    variant=lambda f, h: "LTX-2" if f.find(r"audio") else {2048: "LTX-Video 2B", 4096: "LTX-Video 13B"}.get(
        h or 0, f"LTX-Video (hidden {h})" if h else "LTX-Video"),
    links=_LINKS,
    layers=LAYERS,
    sizes=(2048, 4096),
    depths={"transformer_blocks": (28, 48)},
    advice={"": Sampling(50, 3)},
)  # fmt: skip
