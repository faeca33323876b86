"""A sweep on running servers from its units to its table."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...lora.places import place_layer
from ...model.blocks import TEXT_ENCODER
from ...report.report import LoraSummary, ModelSummary
from ...report.text import clean
from ...sweep.bench import Bench
from ...sweep.modes import Swept, run_mode
from ...sweep.sheet import sweep_sheet
from ...sweep.table import Costs, SweepTable, build_table
from ...sweep.units import Unit
from .reach import run_twice
from .results import GridFolder
from .server import Outcome, Server
from .spread import servers_at_work
from .sweep_cells import SweepCell, SweepCells, find_units, measure_floor
from .sweep_task import SweepTask


@dataclass(frozen=True)
class SweepRun:
    """Everything that came of a sweep."""

    task: SweepTask
    units: tuple[Unit, ...]
    applied: Mapping[str, Any]
    """The report of the LoRA as the workflow applies it."""
    bench: Bench
    swept: Swept
    cells: tuple[SweepCell, ...]
    floors: Mapping[str, Sequence[Outcome]]
    """By server: two runs of the whole LoRA."""
    gone: Mapping[str, str]
    """By server that is gone: why."""
    seconds: float

    @property
    def title(self) -> str:
        """The LoRA and the model."""
        name = self.task.lora_name.replace("\\", "/").rpartition("/")[2]
        return clean(f"{name} on {(self.applied['model'] or {}).get('architecture') or 'a model'}", 200)

    @property
    def made(self) -> dict[str, int]:
        """Number of pictures by server."""
        addresses = [cell.made_by for cell in self.cells if cell.made_by]
        return {address: addresses.count(address) for address in dict.fromkeys(addresses)}

    def summaries(self) -> tuple[ModelSummary, LoraSummary]:
        """Model and LoRA, as Apply LoRA described them."""
        model, lora = self.applied["model"] or {}, self.applied["lora"] or {}
        return (
            ModelSummary(str(model.get("architecture", "")), str(model.get("model_class", ""))),
            LoraSummary(str(lora.get("name", self.task.lora_name)), architecture=str(lora.get("architecture", ""))),
        )

    def table(self, notes: Sequence[str]) -> SweepTable:
        """What was measured, with what is to be said of the servers; its text has the workflow's own strengths."""
        task = self.task
        kept = sum(not cell.made_by for cell in self.cells)
        costs = Costs(self.bench.settings, 2.0 ** len(self.units), resumed=kept, seconds=self.seconds)
        table = build_table(
            self.bench, self.swept, self.units, task.grouping, task.distance, (task.prompts, task.seeds), costs,
            [*self._left_alone(), *notes],
        )  # fmt: skip
        if not task.own_blocks:
            return table
        return dataclasses.replace(table, blocks=task.strengths(table.blocks if self.swept.dropped else ""))

    def sheet(self, table: SweepTable) -> Tensor:
        """All pictures with their labels, [height, width, 3] in 0..1."""
        settings = [self.swept.alone.get(index) for index in range(len(self.units))]
        return sweep_sheet(self.bench, table, settings, self.swept.dropped, self.title)

    def cells_json(self) -> list[dict[str, Any]]:
        """Every picture, with who made it."""
        return [{**dataclasses.asdict(cell), "state": cell.state.value} for cell in self.cells]

    def _left_alone(self) -> list[str]:
        """Layers for the text encoder that no picture here depends on, as a sentence."""
        if self.task.text_encoder:
            return []
        count = sum(place_layer(layer["lora_key"], "")[0] == TEXT_ENCODER for layer in self.applied["layers"])
        why = "no prompt of this workflow is encoded with the LoRA"
        return [f"{count} layers for the text encoder are not swept: {why}."] if count else []


def run_on_servers(
    task: SweepTask,
    servers: Sequence[Server],
    folder: GridFolder,
    client: str,
    cluster: str,
    timeout_s: float,
    on_picture: Callable[[int], None],
) -> SweepRun:
    """Sweep: units, the whole LoRA and the model without it, the floor on every server, then the mode's settings.

    Raises:
        PatchbayError: the LoRA cannot be applied or changes nothing, a picture cannot be made, or all servers are gone.
    """
    begun = time.monotonic()
    units, applied = find_units(task, servers, timeout_s)
    with servers_at_work([server.address for server in servers], cluster) as runner:
        cells = SweepCells(task, units, folder, runner, client, timeout_s, on_picture)
        bench = Bench(len(units), cells.run, ahead=cells.ahead)
        bench.prepare([frozenset(), bench.everything])
        bench.spans()
        left = [server for server in servers if server.address not in runner.gone]
        floors = run_twice(task.cell("", task.scenes[0]), task.output, left, timeout_s)
        measure_floor(bench, floors)
        order = sorted(range(len(units)), key=lambda index: units[index].energy or 0.0)
        swept = run_mode(bench, task.mode, task.distance, order)
        gone = dict(runner.gone)
    found = tuple(cells.cells.values())
    return SweepRun(task, units, applied, bench, swept, found, floors, gone, time.monotonic() - begun)
