"""Chroma."""

from __future__ import annotations

from ..family import Family
from ..marks import has
from ._flux import HIDDEN, LINKS

FAMILY = Family(
    "chroma", "Chroma",
    marks=(has(r"^distilled_guidance_layer", "modulation comes from a distilled guidance layer"),),
    hidden=HIDDEN,
    variant=lambda f, h: "Chroma Radiance" if f.find(r"^nerf_blocks_") else "Chroma",
    links=LINKS,
)  # fmt: skip
