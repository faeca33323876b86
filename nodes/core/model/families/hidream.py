"""HiDream."""

from __future__ import annotations

from ..family import Family
from ..marks import has

FAMILY = Family(
    "hidream",
    "HiDream",
    marks=(
        has(r"^(?:double|single)_stream_blocks_#_block_", "stream blocks"),
        has(r"^caption_projection_#_linear$", "caption projections"),
    ),
)
