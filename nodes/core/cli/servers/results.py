"""What a grid leaves in its folder: the cells by key, the sheets, the report; and whether its servers agree."""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import PatchbayError
from ...grid.plan import GridPlan, Index, Reference
from ...grid.report import CellState, Floor, GridReport, GridResult, build_grid_report
from ...grid.sheets import grid_sheets
from ...grid.store import workflow_texts, write_png
from ...images.comparison import metrics_text
from ...images.metrics import PictureMetrics, compare_pictures
from ...images.panels import from_pillow, to_pillow
from ...report.report import to_json
from ...report.text import clean
from .server import Outcome, ServerFacts

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ServerReport:
    """A server's part in a grid."""

    address: str
    comfyui: str
    torch: str
    python: str
    device: str
    made: int
    floor: PictureMetrics | None = None
    """How far two runs of one cell on it are apart."""
    apart: PictureMetrics | None = None
    """How far its run of that cell is from the first server's."""
    problem: str = ""
    """Why it is gone, or why it was not checked."""


class GridFolder:
    """The folder of one grid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells = folder / "cells"

    def picture(self, key: str) -> Tensor | None:
        """The picture of a cell that was made before; a damaged file counts as none and is deleted."""
        path = self._cells / f"{key}.png"
        try:
            return read_picture(path.read_bytes())
        except FileNotFoundError:
            return None
        except PatchbayError:
            path.unlink(missing_ok=True)
            return None

    def keep(self, key: str, data: bytes) -> Tensor:
        """Keep a cell's file as the server gave it, with the prompt that the server wrote into it.

        Raises:
            PatchbayError: it is no picture.
            OSError: it cannot be written.
        """
        picture = read_picture(data)
        write_whole(self._cells / f"{key}.png", data)
        return picture

    def write(
        self,
        plan: GridPlan,
        report: GridReport,
        result: GridResult,
        servers: Sequence[ServerReport],
        prompt: object,
        saved: object,
    ) -> list[Path]:
        """Write the sheets, which open as their workflow, and ``report.json``; the paths of the sheets.

        Args:
            saved: The workflow as the frontend saved it; ``None`` where it came in API format.
        """
        sheets = enumerate(grid_sheets(plan, report, result.pictures), 1)
        paths = [self.write_sheet(sheet, prompt, saved, number) for number, sheet in sheets]
        self.write_report(report_json(report, servers))
        return paths

    def write_sheet(self, sheet: Tensor, prompt: object, saved: object, number: int = 1) -> Path:
        """Write one sheet [height, width, 3], which opens as its workflow."""
        path = self.folder / ("sheet.png" if number == 1 else f"sheet-{number}.png")
        write_png(path, to_pillow(sheet), workflow_texts(prompt, None if saved is None else {"workflow": saved}))
        return path

    def write_report(self, report: object) -> None:
        """Write ``report.json``."""
        data = json.dumps(report, ensure_ascii=True, indent=1)
        write_whole(self.folder / "report.json", f"{data}\n".encode("ascii"))


def read_picture(data: bytes) -> Tensor:
    """[height, width, 3] in 0..1.

    Raises:
        PatchbayError: it is no picture of a known kind, or a damaged one.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            return from_pillow(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PatchbayError(f"what the server sent is no picture ({error}).") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def report_json(report: GridReport, servers: Sequence[ServerReport]) -> dict[str, Any]:
    """The report with its servers."""
    return {**to_json(report), "servers": servers_json(servers)}


def servers_json(servers: Sequence[ServerReport]) -> list[dict[str, Any]]:
    """The servers as JSON."""
    return [_without_schema(to_json(server)) for server in servers]


def _without_schema(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in ("schema", "version")}


def server_lines(reports: Sequence[ServerReport]) -> list[str]:
    """A line for each server that was there: versions, device and how many pictures are its."""
    lines = []
    for server in reports:
        if server.comfyui:  # one that was gone from the beginning is in the notes
            says = [f"ComfyUI {server.comfyui}", server.torch and f"torch {server.torch}", server.device]
            lines.append(clean(f"{server.address}: {', '.join(filter(None, says))}: {server.made} pictures", 300))
    return lines


def judge_servers(
    facts: Mapping[str, ServerFacts],
    runs: Mapping[str, Sequence[Outcome]],
    made: Mapping[str, int],
    gone: Mapping[str, str],
) -> tuple[list[ServerReport], list[str]]:
    """What each server is and how far it is from itself and from the first, with a sentence for each that differs.

    Args:
        runs: By address: two runs of one cell.
    """
    reports: list[ServerReport] = []
    notes: list[str] = []
    first: Tensor | None = None
    widest = 0.0
    for address, known in facts.items():
        pictures = [read_picture(run.picture) for run in runs.get(address, ()) if run.picture is not None]
        floor = compare_pictures(*pictures[:2]) if len(pictures) > 1 else None
        apart = compare_pictures(first, pictures[0]) if first is not None and pictures else None
        problem = gone.get(address) or next((run.problem for run in runs.get(address, ()) if run.problem), "")
        if first is None and pictures:
            first = pictures[0]
        widest = max(widest, floor.mae if floor else 0.0)
        reports.append(
            ServerReport(
                address,
                known.comfyui,
                known.torch,
                known.python,
                known.device,
                made.get(address, 0),
                floor,
                apart,
                problem,
            )  # fmt: skip
        )
    for report in reports:
        if report.apart is not None and report.apart.mae > widest:
            notes.append(
                f"{report.address} does not agree with {reports[0].address} beyond the run-to-run floor: "
                f"{metrics_text(report.apart)}. Compare only cells that one server made."
            )
        if report.problem:
            named = report.problem.startswith(report.address)
            notes.append(report.problem if named else f"{report.address}: {report.problem}")
    versions = {(report.comfyui, report.torch, report.device) for report in reports if report.comfyui}
    if len(versions) > 1:
        notes.append("The servers are not alike: their versions and devices stand in the report.")
    return reports, notes


def grid_report(
    plan: GridPlan,
    result: GridResult,
    title: str,
    reference: Reference | None,
    asked: str,
    servers: Sequence[ServerReport],
    notes: Sequence[str],
) -> GridReport:
    """The report of a grid over servers. Its floor is the widest of theirs."""
    for index in plan.cells if reference is not None else ():
        assert reference is not None
        other = reference.of(plan, index)
        result.references[index] = (plan.label(other), result.pictures.get(other))
    floors = [server.floor for server in servers if server.floor is not None]
    floor = Floor(max(floors, key=lambda metrics: metrics.mae) if floors else None)
    return build_grid_report(plan, result, title, asked, floor if reference is not None else None, notes)


def set_cell(result: GridResult, index: Index, picture: Tensor, state: CellState, outcome: Outcome | None) -> None:
    """Note a cell that is there."""
    result.pictures[index] = picture
    result.states[index] = state
    if outcome is not None:
        result.seconds[index] = round(outcome.seconds, 3)
        result.made_by[index] = outcome.address
