"""What a grid found: every cell with its settings, and how far its picture is from the one it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from ..errors import PatchbayError
from ..images.comparison import metrics_text
from ..images.metrics import PictureMetrics, compare_pictures
from ..report.report import Level
from ..report.text import clean
from .plan import GridPlan, Index

if TYPE_CHECKING:
    from torch import Tensor

NO_LORA = "without LoRA"
"""What a cell is compared with that is compared with the model alone."""


class CellState(str, Enum):
    """How a cell ended."""

    MADE = "made"
    KEPT = "kept"
    """It was made before, and read from disk."""
    MISSING = "missing"
    """Not made yet: the time was spent."""
    FAILED = "failed"


@dataclass(frozen=True)
class CellReport:
    """One picture of a grid."""

    index: tuple[int, ...]
    """Number of its value on each axis."""
    label: str
    settings: dict[str, str | float | int]
    """Its value on each axis, by the axis's name."""
    state: CellState
    seconds: float | None = None
    """What making it took, when it was made."""
    key: str = ""
    """The same for the same content."""
    reference: str = ""
    """Label of the cell that it is compared with; empty where it is not compared."""
    metrics: PictureMetrics | None = None
    note: str = ""
    """Why it failed or was not compared, or a warning about its LoRA."""
    made_by: str = ""
    """The server that made it, where there are several."""


@dataclass(frozen=True)
class AxisReport:
    """An axis with the labels of its values."""

    name: str
    labels: tuple[str, ...]
    values: tuple[str | float | int, ...]


@dataclass(frozen=True)
class Floor:
    """How far two runs of the same cell are apart, which is what no difference means anything below."""

    metrics: PictureMetrics | None
    """``None`` where it was not measured."""
    note: str = ""
    """Why it was not measured."""

    @property
    def mae(self) -> float:
        """Mean absolute error of two equal runs; 0 where it was not measured."""
        return 0.0 if self.metrics is None else self.metrics.mae


@dataclass(frozen=True)
class GridReport:
    """The whole grid; :func:`core.report.report.to_json` turns it into JSON like any other report."""

    kind: str
    """Always ``grid``."""
    title: str
    summary: str
    axes: tuple[AxisReport, ...]
    rows: int | None
    columns: int | None
    cells: tuple[CellReport, ...]
    level: Level = Level.OK
    reference: str = ""
    """What was asked for as reference."""
    floor: Floor | None = None
    """``None`` where nothing is compared."""
    notes: tuple[str, ...] = ()
    advice: str = ""


@dataclass
class GridResult:
    """What is known of each cell while a grid is being made."""

    pictures: dict[Index, Tensor] = field(default_factory=dict)
    """[height, width, 3] in 0..1, rounded to 8 bits."""
    states: dict[Index, CellState] = field(default_factory=dict)
    seconds: dict[Index, float] = field(default_factory=dict)
    keys: dict[Index, str] = field(default_factory=dict)
    notes: dict[Index, str] = field(default_factory=dict)
    made_by: dict[Index, str] = field(default_factory=dict)
    references: dict[Index, tuple[str, Tensor | None]] = field(default_factory=dict)
    """By cell: the label of what it is compared with, and its picture (``None``: not made)."""


def compare_or_say(picture: Tensor, reference: Tensor | None) -> tuple[PictureMetrics | None, str]:
    """The figures of two pictures, or why there are none."""
    if reference is None:
        return None, "not compared: the picture it is compared with is not made."
    try:
        return compare_pictures(picture, reference), ""
    except PatchbayError as error:
        return None, f"not compared: {error}"


def build_grid_report(
    plan: GridPlan,
    result: GridResult,
    title: str,
    reference: str = "",
    floor: Floor | None = None,
    notes: Sequence[str] = (),
    advice: str = "",
) -> GridReport:
    """Put together what is known.

    Args:
        reference: What was asked for; empty where nothing is compared.
        notes: Sentences that concern the whole grid.
        advice: What to do, in one sentence; empty: what follows from the cells.
    """
    cells = []
    for index in plan.cells:
        state = result.states.get(index, CellState.MISSING)
        picture = result.pictures.get(index)
        metrics, note, name = None, result.notes.get(index, ""), ""
        if picture is not None and index in result.references:
            name, other = result.references[index]
            metrics, why = compare_or_say(picture, other)
            note = " ".join(filter(None, (note, why)))
        cells.append(
            CellReport(
                index,
                plan.label(index),
                plan.settings(index),
                state,
                result.seconds.get(index),
                result.keys.get(index, ""),
                name,
                metrics,
                note,
                result.made_by.get(index, ""),
            )  # fmt: skip
        )
    axes = tuple(
        AxisReport(axis.name, tuple(x.label for x in axis.values), tuple(x.value for x in axis.values))
        for axis in plan.axes
    )
    counts = {state: sum(cell.state is state for cell in cells) for state in CellState}
    bad = counts[CellState.FAILED] or counts[CellState.MISSING] or any(cell.note for cell in cells)
    return GridReport(
        kind="grid",
        title=title,
        summary=_summary(cells, counts),
        axes=axes,
        rows=plan.rows,
        columns=plan.columns,
        cells=tuple(cells),
        level=Level.WARNING if bad else Level.OK,
        reference=reference,
        floor=floor,
        notes=tuple(notes),
        advice=advice or (_GO_ON if counts[CellState.MISSING] else ""),
    )


_GO_ON = "Run again to make the rest: what is made stays, and only what is missing is made."


def _summary(cells: Sequence[CellReport], counts: Mapping[CellState, int]) -> str:
    done = counts[CellState.MADE] + counts[CellState.KEPT]
    parts = [f"{done} of {len(cells)} pictures" if done < len(cells) else f"{done} picture{'s' * (done != 1)}"]
    if counts[CellState.KEPT]:
        parts.append(f"{counts[CellState.KEPT]} of them from before")
    if counts[CellState.FAILED]:
        parts.append(f"{counts[CellState.FAILED]} failed")
    sentence = ", ".join(parts) + "."
    compared = [cell for cell in cells if cell.metrics is not None and not cell.metrics.identical]
    if len(compared) > 1:
        near = min(compared, key=lambda cell: cell.metrics.mae if cell.metrics else math.inf)
        far = max(compared, key=lambda cell: cell.metrics.mae if cell.metrics else 0.0)
        sentence += f" Nearest to its reference: {_figure(near)}; farthest: {_figure(far)}."
    return sentence


def _figure(cell: CellReport) -> str:
    return f"{cell.label} (MAE {cell.metrics.mae:.3g})" if cell.metrics else cell.label


def cell_lines(cell: CellReport, floor: Floor | None = None) -> tuple[str, ...]:
    """What stands below a picture of the sheet."""
    if cell.state in (CellState.MISSING, CellState.FAILED):
        return ("not made",) if cell.state is CellState.MISSING else ("failed",)
    metrics = cell.metrics
    if metrics is None:
        return ()
    if metrics.identical:
        return ("identical",)
    if floor is not None and metrics.mae <= floor.mae:
        return ("within the floor",)
    psnr = "" if metrics.psnr is None else f"{metrics.psnr:.1f} dB  "
    return (f"{psnr}SSIM {metrics.ssim:.3f}",)


def grid_text(report: GridReport) -> str:
    """The report as lines for people: one a cell."""
    lines = [report.title, report.summary, *([report.advice] if report.advice else [])]
    for axis in report.axes:
        if len(axis.labels) > 1:
            lines.append(f"{axis.name}: {', '.join(clean(label, 60) for label in axis.labels)}")
    if report.reference:
        lines.append(f"Compared with: {clean(report.reference, 200)}")
        lines.append(floor_text(report.floor))
    for cell in report.cells:
        words = [clean(cell.label, 160) or "the picture", cell.state.value]
        if cell.metrics is not None:
            words.append(f"against {clean(cell.reference, 120)}: {metrics_text(cell.metrics)}")
        if cell.made_by:
            words.append(f"by {clean(cell.made_by, 80)}")
        if cell.note:
            words.append(clean(cell.note, 300))
        lines.append(": ".join((words[0], "; ".join(words[1:]))))
    return "\n".join([*lines, *(clean(note, 400) for note in report.notes)])


def floor_text(floor: Floor | None) -> str:
    """What two equal runs differ by, as a sentence."""
    if floor is None or floor.metrics is None:
        return f"Floor: not measured{f' ({floor.note})' if floor and floor.note else ''}."
    if floor.metrics.identical:
        return "Floor: two equal runs are identical in every value, so every difference counts."
    return f"Floor: two equal runs differ by {metrics_text(floor.metrics)}; a smaller difference means nothing."
