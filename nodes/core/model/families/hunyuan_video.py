"""HunyuanVideo."""

from __future__ import annotations

from ..family import Family, Link, renamed
from ..marks import blocks_between, has, ratio
from ._flux import HIDDEN

_DOUBLE, _SINGLE = "double_blocks.#.", "single_blocks.#."
_LINKS: tuple[Link, ...] = (
    *(row for stream in ("img", "txt") for row in renamed(f"{_DOUBLE}{stream}_", f"{_DOUBLE}{stream}_", {
        "mod.linear": "mod.lin", "attn_qkv": "attn.qkv", "attn_proj": "attn.proj",
        "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.2"})),
    *renamed(_SINGLE, _SINGLE, {"modulation.linear": "modulation.lin"}),
    *renamed("txt_in.individual_token_refiner.blocks.#.mlp.", "txt_in.individual_token_refiner.blocks.#.mlp.", {
        "fc1": "0", "fc2": "2"}),
)  # fmt: skip

FAMILY = Family(
    "hunyuan_video", "HunyuanVideo",
    marks=(
        has(r"individual_token_refiner|^context_embedder_token_refiner", "text goes through a token refiner"),
        has(r"^double_blocks_#_(?:img|txt)_(?:mlp_fc[12]|mod_linear)$", "original names of HunyuanVideo"),
        blocks_between("double_blocks", 20, 20), blocks_between("single_blocks", 39, 40),
    ),
    against=(ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 6, ""), has(r"_stream_modulation", ""),
             ratio(r"^single_blocks_#_linear1$", 9, "")),
    hidden=HIDDEN,
    links=_LINKS,
)  # fmt: skip
