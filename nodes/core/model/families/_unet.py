"""Names of the UNets of Stable Diffusion."""

from __future__ import annotations

UNET = r"^(?:input_blocks|middle_block|output_blocks|down_blocks|mid_block|up_blocks)_"
CONTEXT = UNET + r".*attn2_(?:processor_)?to_[kv]$"
