"""OmniGen 2."""

from __future__ import annotations

from ..family import Family
from ..marks import has

FAMILY = Family("omnigen2", "OmniGen 2", marks=(has(r"^time_caption_embed_", "time and caption embedded together"),))
