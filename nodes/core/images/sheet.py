"""A labelled sheet: pictures in rows and columns under their headings, as one picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw

from ..errors import PatchbayError
from .lettering import Font, fit_middle, fit_text, font_for, line_height, plain_font
from .panels import BACKGROUND, INK, from_pillow, to_pillow

SOFT = (96, 96, 96)
EMPTY = (204, 204, 204)
MARK = (196, 88, 0)
"""Frame of a marked cell."""
MOST_PIXELS = 48_000_000
"""A larger sheet is made smaller: viewers and uploads refuse pictures without bounds."""
_SMALLEST_CELL = 16

Fit = Callable[[str, Font, float], str]
"""How a text is shortened."""


@dataclass(frozen=True)
class SheetCell:
    """One place of a sheet."""

    picture: torch.Tensor | None = None
    """[height, width, 1, 3 or 4 channels] in 0..1; without one the place is grey."""
    lines: tuple[str, ...] = ()
    """Figures below the picture, one a line."""
    marked: bool = False
    """Drawn in a frame: what the others are compared with."""


@dataclass(frozen=True)
class _Measures:
    """Where things lie on a sheet, in pixels."""

    cell: tuple[int, int]
    """Width and height of a picture's place."""
    gap: int
    text: int
    """Height of the letters."""
    left: int
    """Width of the row headings."""
    top: int
    """Height of the title and the column headings."""
    below: int
    """Height of the lines below each picture."""

    def place(self, row: int, column: int) -> tuple[int, int]:
        """The upper left corner of a picture's place."""
        return (
            self.gap + self.left + column * (self.cell[0] + self.gap),
            self.top + row * (self.cell[1] + self.below + self.gap),
        )


def labelled_sheet(
    cells: Sequence[Sequence[SheetCell]],
    columns: Sequence[str],
    rows: Sequence[str],
    title: str = "",
    captions: Sequence[str] = (),
    most_pixels: int = MOST_PIXELS,
) -> torch.Tensor:
    """Cells at their own resolution, every row and column under its heading.

    A heading that is too long is shortened in the middle. Pictures of several sizes stand centred in places of the
    largest size. A sheet of more than ``most_pixels`` is drawn with smaller pictures, all by the same factor.

    Args:
        cells: Rows of cells; a row may be short.
        columns: Headings, one for each column; all empty for none.
        rows: Headings, one for each row; all empty for none.
        title: A line above everything.
        captions: Lines below everything.

    Returns:
        [height, width, 3] in 0..1, float32.

    Raises:
        PatchbayError: there is no cell, or more cells than headings.
    """
    if not cells or not columns or len(cells) != len(rows) or max(map(len, cells)) > len(columns):
        raise PatchbayError(
            f"sheet: expected a heading for every row and column, got {len(rows)} and {len(columns)} headings for "
            f"{len(cells)} rows of at most {max(map(len, cells), default=0)} cells."
        )
    largest = _largest(cells)
    measures = _measure(cells, columns, rows, title, largest)
    whole = _size(measures, len(rows), len(columns), len(captions))
    scale = 1.0
    if whole[0] * whole[1] > most_pixels:
        scale = math.sqrt(most_pixels / (whole[0] * whole[1]))
        smaller = (max(_SMALLEST_CELL, int(largest[0] * scale)), max(_SMALLEST_CELL, int(largest[1] * scale)))
        measures = _measure(cells, columns, rows, title, smaller)
        whole = _size(measures, len(rows), len(columns), len(captions))
    sheet = Image.new("RGB", whole, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _draw_headings(draw, measures, columns, rows, title, whole[0])
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            _draw_cell(sheet, draw, measures, cell, measures.place(y, x), scale)
    line = line_height(plain_font(measures.text))
    for index, caption in enumerate(captions):
        bottom = whole[1] - measures.gap - (len(captions) - index) * line
        _write(draw, (measures.gap, bottom), caption, measures.text, whole[0] - 2 * measures.gap, SOFT, fit_text)
    return from_pillow(sheet)


def _largest(cells: Sequence[Sequence[SheetCell]]) -> tuple[int, int]:
    """Width and height that every picture fits into."""
    sizes = [cell.picture.shape for row in cells for cell in row if cell.picture is not None]
    if not sizes:
        return 128, 128
    return max(int(size[1]) for size in sizes), max(int(size[0]) for size in sizes)


def _measure(
    cells: Sequence[Sequence[SheetCell]],
    columns: Sequence[str],
    rows: Sequence[str],
    title: str,
    cell: tuple[int, int],
) -> _Measures:
    text = max(12, min(40, cell[0] // 16))
    line = line_height(plain_font(text))
    gap = max(4, cell[0] // 64)
    longest = max((font_for(row, text).getlength(_known(row, text)) for row in rows), default=0.0)
    left = int(min(longest, max(cell[0], 96))) + 2 * gap if any(rows) else 0
    heads = (line + gap if title else 0) + (line + gap if any(columns) else 0)
    lines = max((len(each.lines) for row in cells for each in row), default=0)
    return _Measures(cell, gap, text, left, heads + gap, lines * line)


def _known(text: str, size: int) -> str:
    return fit_middle(text, font_for(text, size), math.inf)


def _size(measures: _Measures, rows: int, columns: int, captions: int) -> tuple[int, int]:
    right, bottom = measures.place(rows, columns)
    return right, bottom + captions * line_height(plain_font(measures.text)) + (measures.gap if captions else 0)


def _draw_headings(
    draw: ImageDraw.ImageDraw, measures: _Measures, columns: Sequence[str], rows: Sequence[str], title: str, width: int
) -> None:
    line, gap = line_height(plain_font(measures.text)), measures.gap
    if title:
        _write(draw, (gap, gap // 2), title, measures.text, width - 2 * gap, INK, fit_text)
    for index, heading in enumerate(columns):
        left, top = measures.place(0, index)
        _write(draw, (left, top - line - gap // 2), heading, measures.text, measures.cell[0], INK, fit_middle)
    for index, heading in enumerate(rows):
        _, top = measures.place(index, 0)
        middle = top + (measures.cell[1] - line) // 2
        _write(draw, (gap, middle), heading, measures.text, measures.left - gap, INK, fit_middle)


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    measures: _Measures,
    cell: SheetCell,
    place: tuple[int, int],
    scale: float,
) -> None:
    left, top = place
    width, height = measures.cell
    if cell.picture is None:
        draw.rectangle((left, top, left + width - 1, top + height - 1), fill=EMPTY)
    else:
        image = to_pillow(cell.picture)
        if scale < 1.0:
            size = (max(1, min(width, int(image.width * scale))), max(1, min(height, int(image.height * scale))))
            image = image.resize(size, Image.Resampling.LANCZOS)
        corner = (left + (width - image.width) // 2, top + (height - image.height) // 2)
        sheet.paste(image, corner, image if image.mode == "RGBA" else None)
    if cell.marked:
        edge = max(2, measures.gap // 2)
        draw.rectangle((left - edge, top - edge, left + width + edge - 1, top + height + edge - 1), None, MARK, edge)
    for index, text in enumerate(cell.lines):
        down = top + height + index * line_height(plain_font(measures.text))
        _write(draw, (left, down), text, measures.text, width, SOFT, fit_text)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    width: int,
    colour: tuple[int, int, int],
    fit: Fit,
) -> None:
    font = font_for(text, size)
    draw.text(place, fit(text, font, width), fill=colour, font=font)
