"""SDXL."""

from __future__ import annotations

from ..family import Family
from ..marks import both, columns, has
from ._unet import CONTEXT, UNET

FAMILY = Family(
    "sdxl", "SDXL",
    marks=(columns(CONTEXT, (2048,), "cross-attention takes 2048 columns (CLIP-L and CLIP-G)"),
           both(has(UNET, "a UNet"), lambda f: f"{f.inner_depth} transformer blocks deep, SD 1.5 and 2 have one"
                if f.inner_depth > 1 else ""),
           both(has(UNET, "a UNet"),
                columns(r"^label_emb_#_|^add_embedding_linear_1$", (2816,), "size conditions"))),
    hints=(has(UNET + r".*attn[12]_(?:processor_)?to_[qkv]$", "a UNet with attention"),),
    against=(columns(CONTEXT, (768, 1024, 1280), ""),
             lambda f: "x" if 0 < f.inner_depth < 2 and f.whole else ""),
)  # fmt: skip
