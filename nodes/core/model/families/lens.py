"""Lens."""

from __future__ import annotations

from ..family import Family
from ..marks import has

FAMILY = Family("lens", "Lens", marks=(has(r"^transformer_blocks_#_img_mlp_w[123]$", "gated image MLP w1, w2, w3"),))
