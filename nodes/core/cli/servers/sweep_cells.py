"""The cells of a sweep on running servers: its units, the pictures of its settings, and the floor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...errors import PatchbayError
from ...grid.report import CellState
from ...sweep.bench import Bench, Dropped, Pictures, rms
from ...sweep.planned import units_of_report, with_layers
from ...sweep.sheet import small_picture
from ...sweep.units import OWN, Unit, check_count, check_groups, own_groups, strengths_without, tagged
from .cells import Prompt, cell_key
from .results import GridFolder, read_picture
from .server import Outcome, Server, ServerGone
from .spread import GO_ON, Runner, Work
from .sweep_task import SweepTask


@dataclass(frozen=True)
class SweepCell:
    """One picture of a sweep."""

    blocks: str
    """The strengths that leave units out; empty for the whole LoRA."""
    scene: str
    state: CellState
    key: str
    seconds: float | None = None
    made_by: str = ""


def find_units(task: SweepTask, servers: Sequence[Server], timeout_s: float) -> tuple[tuple[Unit, ...], dict[str, Any]]:
    """The units of the LoRA on the model of the workflow, and the report of the LoRA as the workflow applies it.

    Raises:
        PatchbayError: no server can apply it, nothing of it lands, or there is nothing to choose from.
    """
    problems: list[str] = []
    for server in servers:
        try:
            report = server.report(task.probe(""), task.lora, timeout_s)
        except ServerGone as error:
            problems.append(str(error))
            continue
        except PatchbayError as error:
            problems.append(f"{server.address}: {error}")
            continue
        own = task.grouping == OWN
        units = own_groups(task.own_groups) if own else units_of_report(report, task.grouping, task.text_encoder)
        if not units:
            raise PatchbayError(f"{task.lora_name}: {report.get('summary') or 'nothing of it is applied'}")
        check_count(units, task.grouping, task.lora_name)
        text, tags = tagged(units)
        units = with_layers(units, report, server.report(task.probe(text), task.lora, timeout_s), tags)
        if own:
            check_groups(units)
        return units, report
    raise PatchbayError(f"no server can apply the LoRA: {'; '.join(problems)}")


class SweepCells:
    """Makes the pictures of settings, all that are asked for at once over all servers; what is there is not made."""

    def __init__(
        self,
        task: SweepTask,
        units: Sequence[Unit],
        folder: GridFolder,
        runner: Runner,
        client: str,
        timeout_s: float,
        on_picture: Callable[[int], None],
    ) -> None:
        self._task, self._units, self._folder, self._runner = task, tuple(units), folder, runner
        self._client, self._timeout_s, self._on_picture = client, timeout_s, on_picture
        self._pictures: dict[str, Tensor] = {}
        self.cells: dict[str, SweepCell] = {}
        """By key, in the order in which they were there."""

    def run(self, dropped: Dropped) -> Pictures:
        """The pictures of a setting.

        Raises:
            PatchbayError: no server can make one of them, or every server is gone.
        """
        self.ahead([dropped])
        return tuple(self._pictures[key] for key, _, _ in self._wanted(dropped))

    def ahead(self, settings: Sequence[Dropped]) -> None:
        """Make the pictures of several settings side by side; raises as :meth:`run`."""
        missing: dict[str, tuple[Prompt, str, str]] = {}
        for dropped in settings:
            blocks = strengths_without(self._units, dropped)
            for key, prompt, scene in self._wanted(dropped):
                if key not in self._pictures and key not in missing and not self._is_kept(key, blocks, scene):
                    missing[key] = (prompt, blocks, scene)
        problems: list[str] = []

        def arrived(key: str, outcome: Outcome) -> None:
            _, blocks, scene = missing[key]
            try:
                if outcome.picture is None:
                    raise PatchbayError(outcome.problem)
                picture = self._folder.keep(key, outcome.picture)
            except PatchbayError as error:
                problems.append(f"{blocks or 'the whole LoRA'}{f', {scene}' if scene else ''}: {error}")
                return
            self._add(
                picture, SweepCell(blocks, scene, CellState.MADE, key, round(outcome.seconds, 3), outcome.address)
            )

        if missing:
            prompts = {key: prompt for key, (prompt, _, _) in missing.items()}
            self._runner.run(Work(prompts, self._task.output, self._timeout_s, self._client), arrived)
        if problems:
            more = f" {len(problems) - 1} more pictures failed." if len(problems) > 1 else ""
            raise PatchbayError(f"{problems[0].rstrip('.')}.{more} {GO_ON}")

    def _wanted(self, dropped: Dropped) -> list[tuple[str, Prompt, str]]:
        """Key, prompt and scene of each picture of a setting."""
        blocks = strengths_without(self._units, dropped)
        cells = [(self._task.cell(blocks, scene), scene.label) for scene in self._task.scenes]
        return [(cell_key(prompt, self._task.output), prompt, label) for prompt, label in cells]

    def _is_kept(self, key: str, blocks: str, scene: str) -> bool:
        picture = self._folder.picture(key)
        if picture is not None:
            self._add(picture, SweepCell(blocks, scene, CellState.KEPT, key))
        return picture is not None

    def _add(self, picture: Tensor, cell: SweepCell) -> None:
        self._pictures[cell.key] = small_picture(picture)
        self.cells[cell.key] = cell
        self._on_picture(len(self.cells))


def measure_floor(bench: Bench, runs: Mapping[str, Sequence[Outcome]]) -> None:
    """Take the floor from runs of the whole LoRA in the first scene: the widest distance between two runs of one
    server, or of a run from the picture that all others are compared with, whoever made that.

    Args:
        runs: By server: two runs.

    Raises:
        PatchbayError: no server made it twice.
    """
    used = bench.pictures(frozenset())[0]
    distances: list[float] = []
    for outcomes in runs.values():
        pictures = [small_picture(read_picture(run.picture)) for run in outcomes if run.picture is not None]
        if len(pictures) > 1:
            distances += [rms(pictures[0] - pictures[1]), *(rms(picture - used) for picture in pictures)]
    if not distances:
        problems = [run.problem for outcomes in runs.values() for run in outcomes if run.problem]
        raise PatchbayError(f"the whole LoRA could not be run again, so there is no floor: {'; '.join(problems)}")
    bench.floors = (max(distances) / bench.spans()[0],)
