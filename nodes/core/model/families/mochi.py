"""Mochi."""

from __future__ import annotations

from ..family import Family
from ..marks import has

FAMILY = Family("mochi", "Mochi", marks=(has(r"^t5_yproj$", "T5 pooling"),))
