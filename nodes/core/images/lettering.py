"""Text on pictures that fits and is never an error: Pillow's own font, and one of the machine's for what it lacks."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

from PIL import ImageFont

Font: TypeAlias = "ImageFont.ImageFont | ImageFont.FreeTypeFont"
ELLIPSIS = "..."
LONGEST_LABEL = 200
"""Characters of a label that are looked at; the full text stands in the report."""

_WIDER_FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansJP-Regular.otf", "NotoSansCJKjp-Regular.otf", "YuGothM.ttc",
    "meiryo.ttc", "msgothic.ttc", "Hiragino Sans GB.ttc",
    "\u30d2\u30e9\u30ae\u30ce\u89d2\u30b4\u30b7\u30c3\u30af W3.ttc", "AppleSDGothicNeo.ttc", "ipag.ttf",
    "ipaexg.ttf", "TakaoGothic.ttf", "VL-Gothic-Regular.ttf", "DroidSansFallbackFull.ttf", "wqy-zenhei.ttc",
    "Arial Unicode.ttf", "DejaVuSans.ttf",
)  # fmt: skip
"""Fonts of Windows, macOS and Linux with more than Latin letters; the first one that has a text's letters draws it."""


def fit_text(text: str, font: Font, width: float) -> str:
    """``text`` on one line, shortened with ``...`` at its end so that it is at most ``width`` pixels wide (or empty).

    Characters that the font does not have become ``?``; the full text stands in the report.
    """
    line = _one_line(text[:LONGEST_LABEL], font)
    if font.getlength(line) <= width and len(text) <= LONGEST_LABEL:
        return line
    while line and font.getlength(line + ELLIPSIS) > width:
        line = line[:-1]
    return line.rstrip() + ELLIPSIS if line else ""


def fit_middle(text: str, font: Font, width: float) -> str:
    """The same, shortened in the middle: names of files often differ only at their end (``style-000040``)."""
    half = LONGEST_LABEL // 2
    line = _one_line(text if len(text) <= LONGEST_LABEL else text[:half] + text[-half:], font)
    if font.getlength(line) <= width and len(text) <= LONGEST_LABEL:
        return line
    for kept in range(len(line) - 1, 0, -1):
        left, right = line[: kept // 2], line[len(line) - (kept - kept // 2) :]
        if font.getlength(found := left.rstrip() + ELLIPSIS + right.lstrip()) <= width:
            return found
    return ""


def font_for(text: str, size: int) -> Font:
    """The font to draw ``text`` with: Pillow's own, or one of the machine's for letters that Pillow's lacks."""
    letters = {c for c in text if c.isprintable() and not c.isspace()}
    own = plain_font(size)
    missing = {c for c in letters if not has_glyph(own, c)}
    if not missing:
        return own
    for name in _WIDER_FONTS:
        wider = _font_of_machine(name, size)
        if wider is not None and all(has_glyph(wider, c) for c in letters):
            return wider
    return own


@functools.lru_cache(maxsize=16)
def plain_font(size: int) -> Font:
    """Pillow's own font, ``size`` pixels high where it can be scaled."""
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError, OSError):  # an old Pillow, or one without FreeType: its small bitmap font
        return ImageFont.load_default()


@functools.lru_cache(maxsize=64)
def _font_of_machine(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except (ImportError, OSError):
        return None


def line_height(font: Font) -> int:
    """Pixels from one line to the next."""
    _, top, _, bottom = font.getbbox("Agj|")
    return int(bottom - min(top, 0)) + 2


@functools.lru_cache(maxsize=8192)
def has_glyph(font: Font, character: str) -> bool:
    """Whether the font can draw a character."""
    if character.isascii() or not isinstance(font, ImageFont.FreeTypeFont):
        return character.isascii()
    missing: Any = font.getmask("\U0010ffff")  # Pillow's own image type, which has no stubs worth the name
    drawn: Any = font.getmask(character)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


def _one_line(text: str, font: Font) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "".join(c if has_glyph(font, c) else "?" for c in line)
