"""One file a family. A new model is a new file here, and its name in the tuple below.

They are tried in this order, first by their marks, then by their hints.
"""

from __future__ import annotations

from ..family import Family
from . import (
    anima,
    auraflow,
    chroma,
    cosmos_predict2,
    flux1,
    flux2,
    hidream,
    hunyuan_video,
    kandinsky5,
    krea2,
    lens,
    ltx,
    lumina2,
    mochi,
    omnigen2,
    pixart,
    qwen_image,
    sd2,
    sd3,
    sd15,
    sdxl,
    sdxl_refiner,
    wan,
    zimage,
)

FAMILIES: tuple[Family, ...] = (
    flux2.FAMILY,
    chroma.FAMILY,
    hunyuan_video.FAMILY,
    flux1.FAMILY,
    qwen_image.FAMILY,
    sd3.FAMILY,
    anima.FAMILY,
    cosmos_predict2.FAMILY,
    krea2.FAMILY,
    zimage.FAMILY,
    lumina2.FAMILY,
    wan.FAMILY,
    ltx.FAMILY,
    sdxl.FAMILY,
    sdxl_refiner.FAMILY,
    sd2.FAMILY,
    sd15.FAMILY,
    hidream.FAMILY,
    auraflow.FAMILY,
    pixart.FAMILY,
    kandinsky5.FAMILY,
    mochi.FAMILY,
    omnigen2.FAMILY,
    lens.FAMILY,
)
_BY_ID = {entry.id: entry for entry in FAMILIES}


def family(id: str) -> Family | None:
    """The family of this id; ``None`` for an architecture that is not known."""
    return _BY_ID.get(id)
