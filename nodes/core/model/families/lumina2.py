"""Lumina 2."""

from __future__ import annotations

from ..family import Family
from ..marks import both, by_hidden, has
from ._lumina import HIDDEN, LINKS, hidden

FAMILY = Family(
    "lumina2", "Lumina 2",
    marks=(both(has(r"^(?:layers|noise_refiner|context_refiner)_#_", "layers with refiners"),
                lambda f: "hidden size 2304, Z-Image has 3840" if hidden(f) == 2304 else ""),),
    hints=(has(r"^(?:layers|noise_refiner)_#_(?:attention_(?:qkv|to_[qkv]|out)|feed_forward_w[123])",
               "names of Lumina 2 and Z-Image"),),
    against=(has(r"^cap_pad_token$", ""), lambda f: "x" if hidden(f) == 3840 else ""),
    hidden=HIDDEN,
    variant=by_hidden("Lumina 2", {2304: "Lumina 2"}, "layers"),
    links=LINKS,
)  # fmt: skip
