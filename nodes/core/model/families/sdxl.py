"""SDXL."""

from __future__ import annotations

from ..facts import Facts
from ..family import Family, Sampling
from ..marks import both, columns, has
from ._unet import CONTEXT, UNET


def _variant(facts: Facts, hidden: int | None) -> str:
    """The distilled UNets have fewer transformer blocks, or none in the middle."""
    if not facts.whole or not facts.find(r"^(?:output_blocks|up_blocks)_#"):
        return "SDXL"
    smaller = {2: "Segmind Vega", 5: "KOALA 700M", 6: "KOALA 1B"}.get(facts.inner_depth)
    middle = facts.find(r"^(?:middle_block_#|mid_block_attentions_#)_transformer_blocks_")
    return smaller or ("SDXL" if middle else "SSD-1B")


FAMILY = Family(
    "sdxl", "SDXL",
    marks=(columns(CONTEXT, (2048,), "cross-attention takes 2048 columns (CLIP-L and CLIP-G)"),
           both(has(UNET, "a UNet"), lambda f: f"{f.inner_depth} transformer blocks deep, SD 1.5 and 2 have one"
                if f.inner_depth > 1 else ""),
           both(has(UNET, "a UNet"),
                columns(r"^label_emb_#_|^add_embedding_linear_1$", (2816,), "size conditions"))),
    variant=_variant,
    hints=(has(UNET + r".*attn[12]_(?:processor_)?to_[qkv]$", "a UNet with attention"),),
    against=(columns(CONTEXT, (768, 1024, 1280), ""),
             lambda f: "x" if 0 < f.inner_depth < 2 and f.whole else ""),
    advice={"": Sampling(50, 5)},
)  # fmt: skip
