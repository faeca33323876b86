"""SD 2."""

from __future__ import annotations

from ..family import Family
from ..marks import columns, has
from ._unet import CONTEXT, UNET

FAMILY = Family(
    "sd2", "SD 2",
    marks=(columns(CONTEXT, (1024,), "cross-attention takes 1024 columns (OpenCLIP-H)"),),
    hints=(has(UNET + r".*attn[12]_(?:processor_)?to_[qkv]$", "a UNet with attention"),),
    against=(has(r"_time_stack_|_time_mix", ""),
             columns(CONTEXT, (768, 2048, 1280), ""), lambda f: "x" if f.inner_depth > 1 else ""),
    said=r"^stable-diffusion-v2|^sd_v2",
)  # fmt: skip
