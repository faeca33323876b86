"""Builds the report of a measurement from its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..report.report import Level
from .runs import NOT_MEASURED, Comparison, ConditionSummary, Measurement, OutputDifference, RunRecord
from .stats import WARN_IQR
from .summary import compare_conditions, summarise_condition
from .why import duration, explain

Differences = Mapping[str, tuple["OutputDifference | None", "OutputDifference | None"]]
"""Latents and images of a condition against the first one, by the condition's label."""


def build_measurement(
    kind: str,
    runs: Sequence[RunRecord],
    labels: Sequence[str],
    context: Mapping[str, Any],
    differences: Differences | None = None,
    notes: Sequence[str] = (),
    references: Mapping[str, str] | None = None,
) -> Measurement:
    """The whole report.

    Args:
        kind: ``measure`` or ``benchmark``.
        runs: All runs in the order in which they were made; those that failed only become a note.
        labels: Conditions in the order of the table; the first is what the others are compared with.
        differences: What comparing the results gave.
        references: What a condition is compared with, where that is not the first one, by label.
    """
    finished = {label: [run for run in runs if run.condition == label and run.outcome == "success"] for label in labels}
    done = {label: _like_the_last(found) for label, found in finished.items()}
    present = [label for label in labels if done[label]]
    conditions = tuple(summarise_condition(done[label]) for label in present)
    found = differences or {}
    pairs = [(_reference(label, present, references or {}), label) for label in present[1:]]
    comparisons = tuple(
        compare_conditions(done[first], done[label], *found.get(label, (None, None)))
        for first, label in pairs
        if first != label
    )
    left_out = {label: len(finished[label]) - len(done[label]) for label in present}
    remarks = [*notes, *_remarks(runs, labels, present, left_out), *_different_sizes(done)]
    noisy = any(c.steady_ms is not None and c.steady_ms.relative_iqr > WARN_IQR for c in conditions)
    level = Level.ERROR if not conditions else Level.WARNING if noisy or len(present) < len(labels) else Level.OK
    return Measurement(
        kind=kind,
        title=" / ".join(labels) or "Nothing measured",
        summary=_summary(conditions, comparisons),
        level=level,
        conditions=conditions,
        comparisons=comparisons,
        sentences=explain(conditions, comparisons),
        runs=tuple(runs),
        notes=tuple(dict.fromkeys(remarks)),
        context=dict(context),
    )


def _reference(label: str, present: Sequence[str], references: Mapping[str, str]) -> str:
    wanted = references.get(label, present[0])
    return wanted if wanted in present else present[0]


def _like_the_last(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs that can be put together with the newest one. A recorder keeps those of earlier prompts, which may have
    had another size or sampler: a median over both would be of neither."""
    return [run for run in runs if _settings(run) == _settings(runs[-1])]


def _settings(run: RunRecord) -> tuple[object, ...]:
    return run.facts.shape, run.facts.sampler, run.facts.cfg, run.steps


def _remarks(
    runs: Sequence[RunRecord], labels: Sequence[str], present: Sequence[str], left_out: Mapping[str, int]
) -> list[str]:
    remarks = [f"{label}: nothing was sampled with it." for label in labels if label not in present]
    failed = [run for run in runs if run.outcome not in ("success", NOT_MEASURED)]
    if failed:
        remarks.append(f"{len(failed)} of {len(runs)} runs ended early and are not counted: {failed[-1].outcome}.")
    lost = sum(run.outcome == NOT_MEASURED for run in runs)
    if lost:
        remarks.append(f"{lost} of {len(runs)} runs could not be measured and are not counted.")
    remarks += [
        f"{label}: {count} earlier runs with another size, sampler, CFG or number of steps are not counted."
        for label, count in left_out.items()
        if count
    ]
    return remarks + [note for run in runs for note in run.notes]


def _different_sizes(done: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    shapes = {run.facts.shape for found in done.values() for run in found}
    if len(shapes) < 2:
        return []
    return [f"The models sampled different latent sizes: {', '.join(str(list(shape)) for shape in sorted(shapes))}."]


def _summary(conditions: Sequence[ConditionSummary], comparisons: Sequence[Comparison]) -> str:
    if not conditions:
        return "Nothing was measured: no sampler has run with a measured model yet."
    if not comparisons:
        only = conditions[0]
        pace = "one evaluation only" if only.steady_ms is None else f"a step takes {duration(_step_ms(only))}"
        total = f", a whole run {duration(only.total_s.value * 1000)}" if only.total_s.value is not None else ""
        return f"{only.label}: {pace}{total}."
    parts = []
    for item in comparisons:
        summary = next(condition for condition in conditions if condition.label == item.b)
        words = item.speed_verdict
        if len(comparisons) > 1:
            parts.append(f"{item.b} against {item.a}: {words}")
            continue
        if summary.switch_s.value is not None and summary.switch_s.value > 0:
            words += f" Switching to it costs {duration(summary.switch_s.value * 1000)} once."
        parts.append(words if item.latents is None else f"{words} {item.latents.text}")
    return " ".join(parts)


def _step_ms(condition: ConditionSummary) -> float:
    if condition.steady_ms is None:
        return 0.0
    return condition.steady_ms.median * condition.evaluations / max(condition.steps, 1)
