"""The sheets of a grid: one a page, with headings, figures and the reference in its frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..images.sheet import SheetCell, labelled_sheet
from .plan import GridPlan, Index
from .report import CellReport, GridReport, cell_lines, floor_text

if TYPE_CHECKING:
    from torch import Tensor


def grid_sheets(plan: GridPlan, report: GridReport, pictures: dict[Index, Tensor]) -> list[Tensor]:
    """One picture a page, [height, width, 3] in 0..1 each; pages of one grid have the same size of cells."""
    by_index: dict[Index, CellReport] = {cell.index: cell for cell in report.cells}
    compared = {cell.reference for cell in report.cells if cell.metrics is not None}
    sheets = []
    for page in plan.pages:
        cells = [
            [
                SheetCell(
                    pictures.get(index),
                    cell_lines(by_index[index], report.floor),
                    bool(compared) and by_index[index].label in compared,
                )
                for index in row
            ]
            for row in page.cells
        ]
        title = ": ".join(part for part in (report.title, page.title) if part)
        sheets.append(labelled_sheet(cells, page.columns, page.rows, title, _captions(report)))
    return sheets


def _captions(report: GridReport) -> list[str]:
    if not report.reference:
        return []
    return [f"compared with: {report.reference}", floor_text(report.floor)]
