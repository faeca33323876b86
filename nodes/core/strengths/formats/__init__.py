"""Block strengths in the formats of other programs, read and written with the meaning that they have there."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache

from ...errors import BlockStrengthError
from .base import Conversion, StrengthFormat
from .elements import element_formats
from .json_forms import json_formats
from .named import named_formats
from .vectors import vector_formats

__all__ = ["Conversion", "StrengthFormat", "export_strengths", "find_format", "import_strengths", "strength_formats"]


@lru_cache(1)
def strength_formats() -> dict[str, StrengthFormat]:
    """Every format by its id, in the order of the menu."""
    found = [*vector_formats(), *named_formats(), *element_formats(), *json_formats()]
    return {item.id: item for item in found}


def find_format(name: str) -> StrengthFormat:
    """A format by its id or its label.

    Raises:
        BlockStrengthError: there is none.
    """
    formats = strength_formats()
    for item in formats.values():
        if name in (item.id, item.label):
            return item
    close = get_close_matches(name[:60], formats, 3, 0.4) or [each for each in formats if name and name in each][:3]
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    raise BlockStrengthError(
        f'"{name[:60]}" is not one of the {len(formats)} known formats.{meant} '
        "'lora-patchbay strengths --formats' lists them."
    )


def import_strengths(text: str, name: str) -> Conversion:
    """Text of a community format as block strengths in the text form.

    Raises:
        BlockStrengthError: the format is not known, or the text is not of it.
    """
    return find_format(name).import_text(text)


def export_strengths(text: str, name: str) -> Conversion:
    """Block strengths as text of a community format, with every layer that it cannot carry.

    Raises:
        BlockStrengthError: the format is not known, the strengths do not parse, or it cannot say them at all.
    """
    return find_format(name).export_text(text)
