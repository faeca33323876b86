"""Kandinsky 5."""

from __future__ import annotations

from ..family import Family
from ..marks import has

FAMILY = Family("kandinsky5", "Kandinsky 5", marks=(has(r"^visual_transformer_blocks_#_", "visual blocks"),))
