"""One sampling while it is being measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.measure.runs import Figure, LoraMath, MemoryFigures, RunFacts, RunRecord
from ..restage.signatures import last_restaging
from .blocks import BlockTimer
from .clocks import clock_for
from .lora_calls import timed_adapters
from .memory import MemoryWatch
from .model_facts import is_compiled, read_facts, streamed_reader

PREPARE, FIRST, LATER = "prepare", "first", "later"
_ENDED_EARLY = "the run ended early"


@dataclass(frozen=True)
class RecorderOptions:
    """What to measure beyond the usual."""

    blocks: bool = False
    """Also each block of the model."""
    strict: bool = False
    """Wait for the device at every evaluation."""
    poll: bool = True
    """Look at memory every 20 ms."""


@dataclass
class _Marks:
    evaluations: list[tuple[Any, Any]] = field(default_factory=list)
    lora: dict[str, list[tuple[Any, Any]]] = field(default_factory=lambda: {PREPARE: [], FIRST: [], LATER: []})
    streamed: list[int] = field(default_factory=list)
    steps: int = 0
    forwards: int = 0
    predictions: int = 0


class MeasuredRun:
    """Collects marks; :meth:`record` turns them into figures. Everything attached goes in :meth:`close`."""

    def __init__(self, patcher: Any, options: RecorderOptions) -> None:
        self._patcher = patcher
        self._options = options
        self._device = patcher.load_device
        self._clock = clock_for(self._device, options.strict)
        self._memory = MemoryWatch(self._device, options.poll)
        self._marks = _Marks()
        self._stack = ExitStack()
        self._blocks: BlockTimer | None = None
        self._streamed: Callable[[], int] | None = None
        self._facts = RunFacts()
        self._notes: list[str] = []
        self._untimed = 0
        self._prepare_s = 0.0
        self._phase = PREPARE
        self._begun = 0

    def open(self) -> None:
        """Begin: what is attached here, :meth:`close` takes off."""
        self._clock.synchronise()
        self._stack.callback(self._memory.stop)
        self._memory.start()
        self._untimed = self._stack.enter_context(timed_adapters(self._patcher, self._clock, self._on_lora))
        self._begun = time.perf_counter_ns()

    def close(self) -> None:
        """Take everything off, whatever happened."""
        self._stack.close()

    def prepare(self, load: Callable[[], Any]) -> Any:
        """Load the model between two waits for the device."""
        self._clock.synchronise()
        begun = time.perf_counter_ns()
        result = load()
        self._clock.synchronise()
        self._prepare_s += (time.perf_counter_ns() - begun) / 1e9
        self._phase = FIRST
        return result

    def sampling(self, guider: Any, sampler: Any, noise: Any, callback: Any) -> Callable[..., Any]:
        """Read what is known now; returns the step callback to use in the place of ``callback``."""
        self._facts = read_facts(self._patcher, guider, sampler, noise, callback)
        self._streamed = streamed_reader(self._patcher)
        kept = last_restaging(self._patcher)
        if kept is not None:
            self._notes.append(kept.sentence)
        if self._options.blocks and is_compiled(self._patcher):
            self._notes.append("No times of single blocks: torch.compile is on.")
        elif self._options.blocks:
            self._blocks = BlockTimer(self._patcher.model, self._clock, self._device)
            self._stack.callback(self._blocks.detach)

        def on_step(*args: Any, **kwargs: Any) -> Any:
            self._marks.steps += 1
            return callback(*args, **kwargs) if callback is not None else None

        return on_step

    def evaluate(self, predict: Callable[[], Any]) -> Any:
        """One evaluation between two marks."""
        marks = self._marks
        if self._blocks is not None:
            self._blocks.evaluation = len(marks.evaluations)
        before = self._clock.mark()
        result = predict()
        marks.evaluations.append((before, self._clock.mark()))
        self._phase = LATER
        if self._streamed is not None:
            marks.streamed.append(self._streamed())
        self._memory.boundary()
        return result

    def forward(self, predictions: int) -> None:
        """The model was called with so many predictions in one batch."""
        self._marks.forwards += 1
        self._marks.predictions += predictions

    def record(self, condition: str, number: int, outcome: str, after_switch: bool) -> RunRecord:
        """The figures. A run that ended early has its counts, but no memory."""
        if outcome == "success":
            self._clock.synchronise()
            total_s = (time.perf_counter_ns() - self._begun) / 1e9
            kept = self._blocks.highest if self._blocks is not None else (0, 0)
            memory = self._memory.finish(self._patcher, kept)
        else:
            total_s = (time.perf_counter_ns() - self._begun) / 1e9
            memory = MemoryFigures(*[Figure.missing(_ENDED_EARLY)] * len(MemoryFigures.__dataclass_fields__))
        timed = outcome == "success"
        evaluations = self._marks.evaluations
        between = self._clock.between
        return RunRecord(
            condition=condition,
            number=number,
            outcome=outcome,
            after_switch=after_switch,
            clock=self._clock.name,
            prepare_s=self._prepare_s,
            total_s=total_s,
            evaluations_ms=tuple(between(a, b) for a, b in evaluations) if timed else (),
            gaps_ms=tuple(between(a[1], b[0]) for a, b in zip(evaluations, evaluations[1:], strict=False))
            if timed
            else (),
            steps=self._marks.steps,
            forwards=self._marks.forwards,
            predictions=self._marks.predictions,
            streamed_bytes=tuple(self._marks.streamed),
            lora=self._lora_math(timed),
            memory=memory,
            facts=replace(self._facts),
            blocks=self._blocks.figures() if self._blocks is not None and timed else (),
            notes=tuple(self._notes),
        )

    @property
    def counts(self) -> tuple[int, int]:
        """Evaluations and steps so far."""
        return len(self._marks.evaluations), self._marks.steps

    def _on_lora(self, before: Any, after: Any) -> None:
        self._marks.lora[self._phase].append((before, after))

    def _lora_math(self, timed: bool) -> LoraMath:
        marks = self._marks.lora
        times = {
            phase: sum(self._clock.between(a, b) for a, b in pairs) if timed else 0.0 for phase, pairs in marks.items()
        }
        return LoraMath(
            prepare_calls=len(marks[PREPARE]),
            first_calls=len(marks[FIRST]),
            later_calls=len(marks[LATER]),
            prepare_ms=times[PREPARE],
            first_ms=times[FIRST],
            later_ms=times[LATER],
            untimed=self._untimed,
        )
