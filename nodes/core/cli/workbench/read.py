"""The LoRAs of a command line with their strengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import PatchbayError
from ..bake import read_lora_header
from ..exits import describe
from ..sources import parse_source

if TYPE_CHECKING:
    from ...bake.merge_plan import MergeSource


def read_sources(texts: Sequence[str]) -> list[MergeSource]:
    """
    Raises:
        PatchbayError: a file cannot be read or is not a LoRA; the text names it as it was typed.
    """
    from ...bake.merge_plan import MergeSource

    found = []
    for text in texts:
        each = parse_source(text)
        try:
            header = read_lora_header(each.path)
        except (PatchbayError, OSError) as error:
            raise PatchbayError(describe(error, each.path)) from error
        found.append(MergeSource(header, each.strength_model, each.strength_clip, each.blocks))
    return found
