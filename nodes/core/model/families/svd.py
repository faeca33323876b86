"""Stable Video Diffusion and SV3D: the UNet of SD 2 with layers over time."""

from __future__ import annotations

from ..family import Family
from ..marks import has
from ._unet import UNET

FAMILY = Family(
    "svd",
    "Stable Video Diffusion",
    marks=(has(UNET + r".*(?:time_stack_|time_mix|temporal_transformer_blocks_)", "a UNet with layers over time"),),
)
