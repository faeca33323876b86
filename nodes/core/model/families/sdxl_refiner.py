"""SDXL refiner."""

from __future__ import annotations

from ..family import Family
from ..marks import columns
from ._unet import CONTEXT

FAMILY = Family(
    "sdxl_refiner", "SDXL refiner",
    marks=(columns(CONTEXT, (1280,), "cross-attention takes 1280 columns (CLIP-G)"),),
)  # fmt: skip
