"""One sampling while it is being measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.measure.runs import NOT_MEASURED, Figure, LoraMath, MemoryFigures, RunFacts, RunRecord
from ..restage.restaging import last_restaging
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
    """Collects marks; :meth:`record` turns them into figures. Everything attached goes in :meth:`close`.

    The picture is worth more than its figures: an error of our own (a driver's, say) ends the measuring, not the run.
    """

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
        self.failure = ""
        """What ended the measuring; empty while it goes on."""

    def attempt(self, work: Callable[[], Any], otherwise: Any = None) -> Any:
        """``work()``, or ``otherwise`` once anything has failed."""
        if self.failure:
            return otherwise
        try:
            return work()
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            logging.warning("LoRA Patchbay: this run is not measured any further: %s", self.failure)
            return otherwise

    def open(self) -> None:
        """Begin: what is attached here, :meth:`close` takes off."""
        self.attempt(self._open)

    def _open(self) -> None:
        self._clock.synchronise()
        self._stack.callback(self._memory.stop)
        self._memory.start()
        timed = timed_adapters(self._patcher, lambda: self.attempt(self._clock.mark), self._on_lora)
        self._untimed = self._stack.enter_context(timed)
        self._begun = time.perf_counter_ns()

    def close(self) -> None:
        """Take everything off, whatever happened."""
        self._stack.close()

    def prepare(self, load: Callable[[], Any]) -> Any:
        """Load the model between two waits for the device."""
        self.attempt(self._clock.synchronise)
        begun = time.perf_counter_ns()
        result = load()
        self.attempt(self._clock.synchronise)
        self._prepare_s += (time.perf_counter_ns() - begun) / 1e9
        self._phase = FIRST
        return result

    def sampling(self, guider: Any, sampler: Any, noise: Any, callback: Any) -> Callable[..., Any]:
        """Read what is known now; returns the step callback to use in the place of ``callback``."""
        self.attempt(lambda: self._look(guider, sampler, noise, callback))

        def on_step(*args: Any, **kwargs: Any) -> Any:
            self._marks.steps += 1
            return callback(*args, **kwargs) if callback is not None else None

        return on_step

    def _look(self, guider: Any, sampler: Any, noise: Any, callback: Any) -> None:
        self._facts = read_facts(self._patcher, guider, sampler, noise, callback)
        self._streamed = streamed_reader(self._patcher)
        kept = last_restaging(self._patcher)
        if kept is not None:
            self._notes.append(kept.sentence)
        if self._options.blocks and is_compiled(self._patcher):
            self._notes.append("No times of single blocks: torch.compile is on.")
        elif self._options.blocks:
            self._blocks = BlockTimer(self._patcher.model, self._clock, self._device, self.attempt)
            self._stack.callback(self._blocks.detach)

    def evaluate(self, predict: Callable[[], Any]) -> Any:
        """One evaluation between two marks."""
        if self._blocks is not None:
            self._blocks.evaluation = len(self._marks.evaluations)
        before = self.attempt(self._clock.mark)
        result = predict()
        self.attempt(lambda: self._after(before))
        self._phase = LATER
        return result

    def _after(self, before: Any) -> None:
        self._marks.evaluations.append((before, self._clock.mark()))
        if self._streamed is not None:
            self._marks.streamed.append(self._streamed())
        self._memory.boundary()

    def forward(self, predictions: int) -> None:
        """The model was called with so many predictions in one batch."""
        self._marks.forwards += 1
        self._marks.predictions += predictions

    def record(self, condition: str, number: int, outcome: str, after_switch: bool) -> RunRecord:
        """The figures. A run that ended early, or whose measuring failed, has its counts, but no memory."""
        if self.failure and outcome == "success":
            outcome = NOT_MEASURED
            self._notes.append(f"Measuring stopped: {self.failure}.")
        if outcome == "success":
            self._clock.synchronise()
            if self._blocks is not None and (skipped := self._blocks.skipped(len(self._marks.evaluations))):
                self._notes.append(skipped)
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
        if not self.failure:
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
