"""The report on a LoRA that was taught to another model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..report.report import Level, ModelSummary, Report
from ..report.text import size
from .teaching import Held

PLAIN, REMAPPED, TAUGHT = "plain", "remapped", "taught"
FROM_ZERO, FROM_PLAIN, FROM_REMAPPED = "zero", "plain", "remapped"


@dataclass(frozen=True)
class Lessons:
    """What was done, for the report."""

    start: str
    layers: int
    called: int
    """Layers that ran."""
    steps: int
    batch: int
    prompts: int
    held: int
    seconds: float
    shares: Mapping[int, float]
    """Share of the full teacher by noise level."""
    written: str
    """The new file; empty where none was written."""
    forecast: str = ""
    """What was said before the first step."""
    planned: int = 0
    """Steps that were asked for."""


def forecast_text(seconds: float, memory: int) -> str:
    """How long it takes and what it needs, in words."""
    return f"about {seconds:.0f} s and {size(memory)} of memory besides the two models"


def teach_report(
    title: str, judged: Sequence[Held], lessons: Lessons, is_better: bool, model: ModelSummary, notes: Sequence[str]
) -> Report:
    """The report of the node; the first of ``judged`` is the taught LoRA."""
    level, verdict, summary, advice = _judge(judged, is_better)
    return Report(
        kind="teach", title=title, summary=summary, level=level, model=model, verdict=verdict, advice=advice,
        notes=(*_notes(lessons), *(note for note in notes if note)),
    )  # fmt: skip


def _judge(judged: Sequence[Held], is_better: bool) -> tuple[Level, str, str, str]:
    taught, *others = judged
    best = min(others, key=lambda one: one.square_mean)
    missed, best_missed = f"{100 * taught.error:.3g}", f"{100 * best.error:.3g}"
    if is_better and best.name == REMAPPED:
        return Level.OK, "taught", (
            f"On held-out prompts the new LoRA misses what the LoRA does on its own model by {missed} %, the LoRA "
            f"with its blocks renumbered by {best_missed} %."
        ), ""  # fmt: skip
    if is_better:
        return Level.OK, "taught", (
            f"On held-out prompts the new LoRA misses what the LoRA does on its own model by {missed} %, the LoRA as "
            f"it is by {best_missed} %."
        ), ""  # fmt: skip
    summary = (
        f"Nothing is written: on held-out prompts the taught LoRA misses what the LoRA does on its own model by "
        f"{missed} %, without teaching it is {best_missed} %, and the gain is not certain."
    )
    return Level.WARNING, "kept as it is", summary, "Use the LoRA as it is, or give more prompts and more steps."


def _notes(lessons: Lessons) -> list[str]:
    starts = {
        FROM_ZERO: "Started from zero: nothing of the LoRA lands on this model.",
        FROM_PLAIN: "Started from the LoRA as it is.",
        FROM_REMAPPED: "Started from the LoRA with its blocks renumbered.",
    }
    notes = [
        starts[lessons.start],
        f"{lessons.layers} layers, {lessons.steps} steps of {lessons.batch}, {lessons.prompts} prompts with their "
        f"mixtures, {lessons.held} held out, {lessons.seconds:.0f} s.",
    ]
    if lessons.steps < lessons.planned:
        notes.append(f"Ended before step {lessons.planned}: the last rounds brought nothing, and were taken back.")
    if lessons.forecast:
        notes.append(f"Said before the first step: {lessons.forecast}.")
    if lessons.shares:
        shares = ", ".join(f"{share:.2f}" for _, share in sorted(lessons.shares.items()))
        notes.append(
            f"Share of the reference's whole output in what was taught, by noise level: {shares}. The rest is this "
            "model's own output with the LoRA's change."
        )
    if lessons.called < lessons.layers:
        notes.append(f"{lessons.layers - lessons.called} layers never ran and stay as they were.")
    if lessons.written:
        notes.append(f"Written to loras: {lessons.written}")
    return notes


def teach_text(judged: Sequence[Held]) -> str:
    """Every way with its error on held-out prompts, for people."""
    lines = [f"  {one.name:<10} {100 * one.error:6.1f} %" for one in judged]
    return "\n".join(["Error on held-out prompts (0 % is the teacher, 100 % as without a LoRA):", *lines])
