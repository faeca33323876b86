"""From raw runs to summaries of conditions and their comparison with the first one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from .runs import (
    MEMORY_NAMES,
    Comparison,
    ConditionSummary,
    Figure,
    MemoryFigures,
    OutputDifference,
    Ratio,
    RunFacts,
    RunRecord,
    Segment,
)
from .stats import median, paired_ratio, spread_of
from .verdict import speed_verdict


def summarise_condition(runs: Sequence[RunRecord]) -> ConditionSummary:
    """The summary of the finished runs of one condition, which must be at least one.

    Steady figures come from the warm runs; where every run follows a switch, from all of them.
    """
    cold = [run for run in runs if run.after_switch]
    warm = [run for run in runs if not run.after_switch]
    steady_runs = warm or list(runs)
    last = steady_runs[-1]
    memory = median_memory([run.memory for run in steady_runs])
    steady = spread_of([value for run in steady_runs for value in run.steady_ms])
    too_short = "a run with one evaluation has no steady one"
    first = _median_figure((run.evaluations_ms[0] for run in cold if run.evaluations_ms), "no run after a switch")
    extra = Figure.missing(first.reason or too_short)
    if first.value is not None and steady is not None:
        extra = Figure(first.value - steady.median)
    total = _median_figure((run.total_s for run in warm), "no run without a switch before it")
    switch = Figure.missing("needs a run after a switch and one without")
    begin_cold, begin_warm = median(_begin_s(cold)), median(_begin_s(warm))
    if begin_cold is not None and begin_warm is not None:
        switch = Figure(begin_cold - begin_warm)
    pace = Figure.missing(too_short)
    gap = _median_figure((value for run in steady_runs for value in run.gaps_ms), too_short)
    if steady is not None and steady.median > 0:
        per_step = len(last.evaluations_ms) / max(last.steps, 1)
        pace = Figure(1000.0 / ((steady.median + (gap.value or 0.0)) * per_step))
    return ConditionSummary(
        label=last.condition,
        runs=len(runs),
        steps=last.steps,
        evaluations=len(last.evaluations_ms),
        predictions=last.predictions,
        steady_ms=steady,
        first_ms=first,
        first_warm_ms=_median_figure(
            (run.evaluations_ms[0] for run in warm if run.evaluations_ms), "no run without a switch before it"
        ),
        extra_ms=extra,
        prepare_s=_median_figure((run.prepare_s for run in cold), "no run after a switch"),
        switch_s=switch,
        total_s=total,
        iterations_per_s=pace,
        gap_ms=gap,
        streamed_bytes=_streamed(steady_runs),
        lora=cold[-1].lora if cold else last.lora,
        memory=memory,
        facts=last.facts,
        clock=last.clock,
        segments=memory_segments(memory, last.facts),
        blocks=last.blocks,
    )


def _begin_s(runs: Sequence[RunRecord]) -> list[float]:
    """Loading and first evaluation of each run: where a switch is paid, whatever disturbs the later evaluations."""
    return [run.prepare_s + run.evaluations_ms[0] / 1000 for run in runs if run.evaluations_ms]


def _streamed(runs: Sequence[RunRecord]) -> Figure:
    known = [value for run in runs for value in run.streamed_bytes[1:]]
    if not known:
        return Figure.missing("not known for this way of loading, or a run had one evaluation")
    return Figure(median(known))


def _median_figure(values: Iterable[float], reason: str) -> Figure:
    value = median(values)
    return Figure.missing(reason) if value is None else Figure(value)


def median_memory(all_figures: Sequence[MemoryFigures]) -> MemoryFigures:
    """Median of each figure over several runs; the last run's reason where none was read."""
    made = {}
    for item in fields(MemoryFigures):
        figures: list[Figure] = [getattr(memory, item.name) for memory in all_figures]
        value = median(figure.value for figure in figures if figure.value is not None)
        made[item.name] = replace(figures[-1], value=value)
    return MemoryFigures(**made)


def memory_segments(memory: MemoryFigures, facts: RunFacts) -> tuple[Segment, ...]:
    """The process's memory, piece by piece. Weights that torch holds are not counted among activations again."""
    weights, whole = memory.weights_resident.value, memory.process_low.value
    if weights is None or whole is None:
        return ()
    parts = [("weights", weights)]
    allocated = memory.torch_allocated_peak.value
    if allocated is not None:
        outside = facts.mode == "dynamic VRAM"
        parts.append(("activations", max(0.0, allocated - (0.0 if outside else weights))))
        if outside and memory.cast_buffers.value:
            parts.append(("cast_buffers", memory.cast_buffers.value))
    parts.append(("rest", max(0.0, whole - sum(size for _, size in parts))))
    return tuple(Segment(name, size) for name, size in parts)


def compare_conditions(
    a: Sequence[RunRecord],
    b: Sequence[RunRecord],
    latents: OutputDifference | None = None,
    images: OutputDifference | None = None,
) -> Comparison:
    """B against A, warm run by warm run in the order in which they were made."""
    one, two = summarise_condition(a), summarise_condition(b)
    warm_a = [run for run in a if not run.after_switch] or list(a)
    warm_b = [run for run in b if not run.after_switch] or list(b)
    steady = _steady_ratio(warm_a, warm_b)
    floor = speed_floor(a, b)
    speed, verdict = speed_verdict(steady, one.steady_ms, two.steady_ms, two.label, floor)
    memory = {
        name: paired_ratio(
            [getattr(run.memory, name).value for run in warm_a], [getattr(run.memory, name).value for run in warm_b]
        )
        for name in MEMORY_NAMES
    }
    return Comparison(
        a=one.label,
        b=two.label,
        steady=steady,
        total=paired_ratio([run.total_s for run in warm_a], [run.total_s for run in warm_b]),
        memory=memory,
        speed=speed,
        speed_floor=floor,
        speed_verdict=verdict,
        latents=latents,
        images=images,
    )


def _steady_ratio(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> Ratio:
    return paired_ratio([median(run.steady_ms) for run in a], [median(run.steady_ms) for run in b])


def speed_floor(*groups: Sequence[RunRecord]) -> float | None:
    """The A/A control of speed: how far the steady paces of the two runs of a pair are apart, as a share.

    The larger one of the conditions, each the geometric mean over its pairs; ``None`` without a pair.
    """
    found = []
    for runs in groups:
        cold, warm = ([run for run in runs if run.after_switch is after] for after in (True, False))
        ratio = _steady_ratio(cold, warm)
        if ratio.value is not None:
            found.append(abs(ratio.value - 1))
    return max(found) if found else None


def steady_ratios(groups: Sequence[Sequence[RunRecord]]) -> list[Ratio]:
    """Ratio of the steady pace of every condition but the first to the first, from their warm runs."""
    warm = [[run for run in runs if not run.after_switch] for runs in groups]
    return [_steady_ratio(warm[0], runs) for runs in warm[1:]]
