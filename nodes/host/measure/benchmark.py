"""The benchmark's loop: samples each condition again and again through one recorder, in the order A A B B A A B B.

The first run after a switch carries the cost of switching and is kept apart; the second is warm. Two equal runs next
to each other also give the run-to-run floor that every difference is held against.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import torch

from ...core.errors import PatchbayError
from ...core.measure.runs import RunRecord
from ...core.measure.stats import narrow_enough
from ...core.measure.summary import steady_ratios
from .recorder import Recorder, attach
from .run import RecorderOptions
from .sampling import Sampling, sample_latent

MIN_CYCLES = 2
KEPT_RESULTS = 4
"""Latents kept of each condition."""


@dataclass(frozen=True)
class BenchCondition:
    """One row of the table."""

    label: str
    model: Any
    steps: int
    cfg: float


@dataclass(frozen=True)
class BenchSettings:
    """What all conditions share."""

    positive: Any
    negative: Any
    latent: dict[str, Any]
    seed: int
    sampler_name: str
    scheduler: str
    budget_s: float
    precision: float
    """Stop once every ratio of steady paces is known to within this share (0.02 for 2 %)."""
    max_cycles: int = 50
    blocks: bool = False


@dataclass
class BenchResult:
    """Runs of all conditions and the latents that they made."""

    recorder: Recorder
    latents: list[list[torch.Tensor]] = field(default_factory=list)
    """By condition, up to four runs each, oldest first."""
    cycles: int = 0
    stopped_by: str = ""


Progress = Callable[[int, int], None]
"""Takes model evaluations done and expected; may raise to stop everything."""


def run_benchmark(conditions: Sequence[BenchCondition], settings: BenchSettings, progress: Progress) -> BenchResult:
    """Sample all conditions until their ratios are known well enough or the time is spent.

    At least two cycles are run, however long they take; a cycle that would not fit into the rest of the budget is not
    begun. Nothing stays attached to the models, however this ends.

    Raises:
        PatchbayError: there is nothing to measure, or the latent has no place in a model.
    """
    if not conditions:
        raise PatchbayError("no model to measure: connect at least model_a.")
    recorder: Recorder | None = None
    models = []
    for condition in conditions:
        options = RecorderOptions(blocks=settings.blocks)
        model, recorder = attach(condition.model, condition.label, options, recorder)
        models.append(model)
    assert recorder is not None
    result = BenchResult(recorder, [[] for _ in conditions])
    begun = time.monotonic()
    done = 0
    expected = MIN_CYCLES * 2 * sum(condition.steps for condition in conditions)
    while True:
        for index, condition in enumerate(conditions):
            for _ in range(2):
                done += condition.steps
                latent = _sample(
                    models[index], condition, settings, _step_counter(progress, done - condition.steps, expected)
                )
                if len(result.latents[index]) < KEPT_RESULTS:
                    result.latents[index].append(latent)
        result.cycles += 1
        spent = time.monotonic() - begun
        result.stopped_by = _why_stop(result, settings, spent)
        if result.stopped_by:
            return result
        expected = max(expected, done + 2 * sum(condition.steps for condition in conditions))


def _why_stop(result: BenchResult, settings: BenchSettings, spent: float) -> str:
    if result.cycles < MIN_CYCLES:
        return ""
    groups: list[list[RunRecord]] = [list(channel.runs) for channel in result.recorder.channels]
    if len(groups) > 1 and result.cycles > 2 and narrow_enough(steady_ratios(groups), settings.precision):
        return f"every ratio is known to within {settings.precision:.1%}"
    if spent + spent / result.cycles > settings.budget_s:
        return f"the time of {settings.budget_s:g} s is spent"
    if result.cycles >= settings.max_cycles:
        return f"{settings.max_cycles} cycles were run"
    return ""


def _step_counter(progress: Progress, before: int, expected: int) -> Callable[..., None]:
    def on_step(step: int, *_: Any) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        progress(before + step + 1, max(expected, before + step + 1))

    return on_step


def _sample(
    model: Any, condition: BenchCondition, settings: BenchSettings, callback: Callable[..., None]
) -> torch.Tensor:
    """One run with the same noise as every other; the result lies in main memory."""
    return sample_latent(
        model,
        Sampling(
            settings.positive, settings.negative, settings.latent, settings.seed, condition.steps, condition.cfg,
            settings.sampler_name, settings.scheduler,
        ),
        callback,
    )  # fmt: skip
