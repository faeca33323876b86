"""Z-Image."""

from __future__ import annotations

from ..family import Family
from ..marks import both, has
from ._lumina import HIDDEN, LINKS, hidden

FAMILY = Family(
    "zimage", "Z-Image",
    marks=(both(has(r"^(?:layers|noise_refiner|context_refiner)_#_", "layers with refiners"),
                lambda f: "hidden size 3840, Lumina 2 has 2304" if hidden(f) == 3840 else ""),
           has(r"^cap_pad_token$", "has padding tokens")),
    hidden=(*HIDDEN, (r"^x_pad_token$", 1)),
    links=LINKS,
)  # fmt: skip
