"""SD 1.5."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import both, columns, has
from ._unet import CONTEXT, UNET

FAMILY = Family(
    "sd15", "SD 1.5",
    marks=(columns(CONTEXT, (768,),
                   "cross-attention takes 768 columns (CLIP-L)"),),
    hints=(has(UNET + r".*attn[12]_(?:processor_)?to_[qkv]$", "a UNet with attention"),
           both(has(r"^unet:\d+$", "layers by number, as cloneofsimo writes SD 1.5"),
                lambda f: "some take 768 columns" if 768 in f.in_widths and 1024 not in f.in_widths else "")),
    against=(columns(CONTEXT, (1024, 2048, 1280), ""), lambda f: "x" if f.inner_depth > 1 else ""),
    said=r"^stable-diffusion-v1|^sd_v1",
    advice={"": Sampling(50, 7.5)},
)  # fmt: skip
