"""The whole grid: references first, cells in an order that stages little, within a time, and stopped at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import torch

from ...core.errors import PatchbayError
from ...core.grid.plan import GridPlan, Index, Reference
from ...core.grid.report import NO_LORA, CellState, Floor, GridResult
from ...core.images.metrics import compare_pictures
from .cells import CellMaker, Made, Request
from .staging import StageKey


@dataclass(frozen=True)
class Arrived:
    """A picture that has just come."""

    index: Index | None
    """Its cell; ``None`` for one that cells are compared with."""
    label: str
    picture: torch.Tensor
    number: int
    """1 for the first one."""
    of: int


Progress = Callable[[int, int, "Arrived | None"], None]
"""Takes steps done and expected, and a picture that has just come; may raise to stop everything."""


@dataclass(frozen=True)
class GridRun:
    """What is to be made."""

    plan: GridPlan
    reference: Reference | None
    """A cell of the grid to compare with; ``None``: the model alone, or nothing."""
    against_plain: bool
    """Compare with the model without a LoRA."""
    steps: int
    budget_s: float


@dataclass
class GridOutcome:
    """What came of it."""

    result: GridResult = field(default_factory=GridResult)
    floor: Floor | None = None
    stopped: str = ""
    """Why cells are missing."""


def run_grid(run: GridRun, maker: CellMaker, progress: Progress) -> GridOutcome:
    """Make the pictures.

    A cell whose LoRA cannot be applied fails with its reason, and the others are made. A picture that would not fit
    into the rest of the time is not begun, but one is made however long it takes.

    Raises:
        InterruptProcessingException: somebody pressed stop; what was made is on disk.
    """
    return _Runner(run, maker, progress).run()


class _Runner:
    def __init__(self, run: GridRun, maker: CellMaker, progress: Progress) -> None:
        self._run, self._maker, self._progress = run, maker, progress
        self._outcome = GridOutcome()
        self._begun = time.monotonic()
        self._durations: list[float] = []
        self._plain: dict[Request, torch.Tensor | None] = {}
        self._jobs = self._order()
        self._done = 0

    def run(self) -> GridOutcome:
        for request, index in self._jobs:
            if self._spent():
                self._outcome.stopped = f"The time of {self._run.budget_s:g} s is spent."
                break
            self._one(request, index)
        self._resolve_references()
        if self._run.against_plain or self._run.reference is not None:
            self._outcome.floor = self._measure_floor()
        total = len(self._jobs) * self._run.steps
        self._progress(total, total, None)
        return self._outcome

    def _order(self) -> list[tuple[Request, Index | None]]:
        """All pictures: what cells are compared with comes before the first cell that needs it."""
        jobs: list[tuple[Request, Index | None]] = []
        known: set[Request] = set()
        model = -1
        for index in self._run.plan.cells:
            request = self._request(index)
            if self._run.against_plain and request.stage.model != model:
                model = request.stage.model
                for plain in dict.fromkeys(_plain(self._request(each)) for each in self._run.plan.cells):
                    if plain.stage.model == model and plain not in known:
                        known.add(plain)
                        jobs.append((plain, None))
            jobs.append((request, index))
        return jobs

    def _request(self, index: Index) -> Request:
        values = self._run.plan.settings(index)
        stage = StageKey(int(values["model"]), str(values["lora"]), float(values["strength"]), str(values["blocks"]))
        return Request(stage if stage.strength else _plain_stage(stage), int(values["prompt"]), int(values["seed"]))

    def _one(self, request: Request, index: Index | None) -> None:
        made = self._made(request)
        if isinstance(made, Made):
            if index is None:
                self._plain[request] = made.picture
            else:
                self._keep(index, made)
        elif index is not None:
            self._outcome.result.states[index] = CellState.FAILED
            self._outcome.result.notes[index] = made
        self._done += 1
        arrived = None
        if isinstance(made, Made):
            label = NO_LORA if index is None else self._run.plan.label(index)
            arrived = Arrived(index, label, made.picture, self._done, len(self._jobs))
        self._progress(self._done * self._run.steps, len(self._jobs) * self._run.steps, arrived)

    def _made(self, request: Request) -> Made | str:
        """The picture, or why there is none."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        try:
            made = self._maker.make(request, self._on_step)
        except PatchbayError as error:
            return str(error)
        if not made.kept and made.seconds is not None:
            self._durations.append(made.seconds)
        return made

    def _keep(self, index: Index, made: Made) -> None:
        result = self._outcome.result
        result.pictures[index] = made.picture
        result.states[index] = CellState.KEPT if made.kept else CellState.MADE
        result.keys[index] = made.key
        if made.seconds is not None:
            result.seconds[index] = made.seconds
        if made.note:
            result.notes[index] = made.note

    def _on_step(self, step: int, *_: Any) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        total = len(self._jobs) * self._run.steps
        self._progress(min(self._done * self._run.steps + step + 1, total), total, None)

    def _spent(self) -> bool:
        if not self._durations:
            return False
        return time.monotonic() - self._begun + min(self._durations) > self._run.budget_s

    def _resolve_references(self) -> None:
        result, plan = self._outcome.result, self._run.plan
        for index in plan.cells:
            if self._run.against_plain:
                result.references[index] = (NO_LORA, self._plain.get(_plain(self._request(index))))
            elif self._run.reference is not None:
                other = self._run.reference.of(plan, index)
                result.references[index] = (plan.label(other), result.pictures.get(other))

    def _measure_floor(self) -> Floor:
        """Make one picture that cells are compared with a second time."""
        request, first = self._first_reference()
        if request is None or first is None:
            return Floor(None, "the picture that is compared with was not made")
        if self._spent() and self._outcome.stopped:
            return Floor(None, "the time is spent")
        again = self._made(Request(request.stage, request.prompt, request.seed, 1))
        if not isinstance(again, Made):
            return Floor(None, again)
        return Floor(compare_pictures(first, again.picture))

    def _first_reference(self) -> tuple[Request | None, torch.Tensor | None]:
        if self._run.against_plain:
            return next(((request, picture) for request, picture in self._plain.items()), (None, None))
        assert self._run.reference is not None
        index = self._run.reference.of(self._run.plan, self._run.plan.cells[0])
        return self._request(index), self._outcome.result.pictures.get(index)


def _plain_stage(stage: StageKey) -> StageKey:
    return StageKey(stage.model, "", 0.0, "")


def _plain(request: Request) -> Request:
    """The same picture without a LoRA."""
    return Request(_plain_stage(request.stage), request.prompt, request.seed)


def lora_notes(reports: Sequence[tuple[StageKey, Any]]) -> list[str]:
    """One sentence for each LoRA that did not land in full, whatever its strengths."""
    said: dict[str, str] = {}
    for key, report in reports:
        if report.level.value != "ok" and key.strength:
            said.setdefault(key.lora, f"{key.lora}: {report.summary}")
    return list(said.values())
