"""Runs made by hand, for the tests of statistics, verdicts and texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pack.nodes.core.measure.runs import Figure, LoraMath, MemoryFigures, RunFacts, RunRecord

GIB = 2.0**30


def memory(**bytes_by_name: float) -> MemoryFigures:
    """Figures by name; the others are missing."""
    return replace(MemoryFigures(), **{name: Figure(value) for name, value in bytes_by_name.items()})


def run(condition: str = "a", first: float = 100.0, steady: float = 100.0, count: int = 4, **changes: Any) -> RunRecord:
    """One run whose evaluations take ``first`` and then ``steady`` ms."""
    times = (first, *[steady] * (count - 1))
    values: dict[str, Any] = {
        "condition": condition, "number": 1, "outcome": "success", "after_switch": False, "clock": "device events",
        "prepare_s": 0.01, "total_s": sum(times) / 1000 + 0.02, "evaluations_ms": times,
        "gaps_ms": (1.0,) * (count - 1), "steps": count, "forwards": count, "predictions": count,
        "streamed_bytes": (0,) * count, "lora": LoraMath(), "memory": memory(weights_total=8 * GIB),
        "facts": RunFacts(mode="dynamic VRAM", sampler="euler", cfg=1.0, shape=(1, 128, 64, 64)),
    }  # fmt: skip
    return RunRecord(**(values | changes))


def cycles(condition: str, count: int, first: float, steady: float, drift: float = 0.0, **changes: Any) -> list[Any]:
    """``count`` pairs of a run after a switch and a warm one; ``drift`` is added to the steady time of each cycle."""
    runs = []
    for index in range(count):
        time = steady + drift * index
        runs.append(run(condition, first, time, after_switch=True, number=2 * index, **changes))
        runs.append(run(condition, time, time, number=2 * index + 1, **changes))
    return runs
