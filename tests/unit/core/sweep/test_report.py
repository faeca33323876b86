"""What a sweep says, from benches with known answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sweep_benches import made_bench


@pytest.fixture(scope="module")
def sweep() -> Any:
    import pack
    from pack.nodes.core.report.report import to_json
    from pack.nodes.core.sweep import bench, modes, report, table, units

    return SimpleNamespace(
        pack=pack, bench=bench, modes=modes, report=report, table=table, units=units, to_json=to_json
    )


def swept_table(sweep: Any, bench: Any, mode: str, distance: float = 0.1, **change: Any) -> Any:
    units = [
        sweep.units.Unit(f"single_blocks.{i}", (f"single_blocks.{i}",), 2, 1 / bench.count, 0.1 * i)
        for i in range(bench.count)
    ]
    swept = sweep.modes.run_mode(bench, mode, distance, range(bench.count))
    fields = {
        "mode": mode, "grouping": "block", "rows": sweep.table.unit_rows(bench, swept, units), "distance": distance,
        "blocks": sweep.units.strengths_without(units, swept.dropped) or "all=1",
        "missed": bench.missed(swept.dropped),
        "kept_figures": sweep.table.picture_figures(bench, swept.dropped),
        "whole_figures": sweep.table.picture_figures(bench, bench.everything),
        "floor": bench.floor, "prompts": 1, "seeds": 2, "pictures": False,
        "costs": sweep.table.Costs(bench.settings, 2.0**bench.count, 100, 3, 1.5),
        "bundles": sweep.table.bundles_of(bench, swept),
        "interactions": sweep.table.named_interactions(swept, units), "stopped": swept.stopped,
    }  # fmt: skip
    return sweep.table.SweepTable(**{**fields, **change})


def test_the_answer_is_a_sentence_with_the_count(sweep: Any) -> None:
    table = swept_table(sweep, made_bench(sweep.pack, [2.0, 0.0, 0.0, 1.0]), "knock-out")
    report = sweep.report.sweep_report(table, "x", None, None)
    assert report.summary.startswith("The same picture with 2 of 4 units")
    assert report.verdict == "2 of 4"
    assert report.blocks == "single_blocks.1-2=0"
    assert any("Dead weight" in note and "single_blocks.1, single_blocks.2" in note for note in report.notes)
    assert any("single_blocks.0" in note and "Most of the effect" in note for note in report.notes)
    text = sweep.report.sweep_text(table)
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["keep", "dead", "dead", "keep"]


def test_nothing_to_leave_out(sweep: Any) -> None:
    table = swept_table(sweep, made_bench(sweep.pack, [1.0, 1.0, 1.0]), "knock-out", 0.05)
    report = sweep.report.sweep_report(table, "x", None, None)
    assert report.summary.startswith("All 3 units are needed")
    assert table.blocks == "all=1"


def test_the_search_names_its_groups(sweep: Any) -> None:
    table = swept_table(sweep, made_bench(sweep.pack, [0.0] * 12 + [2.0] * 2), "search")
    assert table.kept == 2
    assert table.measured == 14
    text = sweep.report.sweep_text(table)
    assert "14 units" not in text
    assert "left out at once" in text or all(row.effect is not None for row in table.rows)


def test_solo_goes_towards_the_lora(sweep: Any) -> None:
    table = swept_table(sweep, made_bench(sweep.pack, [3.0, 0.0, 1.0]), "solo")
    toward = [row.toward.mean for row in table.rows]
    assert toward[0] > 0.7
    assert toward[1] == pytest.approx(0, abs=1e-6)
    assert sum(toward) == pytest.approx(1, abs=1e-5), "changes that add up share the LoRA out"


def test_pictures_have_figures_and_latents_have_none(sweep: Any) -> None:
    def run(dropped: frozenset[int]) -> tuple[torch.Tensor, ...]:
        return (torch.full((16, 16, 3), 0.5) + (0.0 if 0 in dropped else 0.1),)

    bench = sweep.bench.Bench(2, run)
    figures = sweep.table.picture_figures(bench, frozenset({0}))
    assert figures.mae == pytest.approx(0.1, abs=1e-6)
    assert figures.psnr == pytest.approx(20, abs=1e-4)
    assert sweep.table.picture_figures(bench, frozenset({1})).psnr is None
    assert sweep.table.picture_figures(made_bench(sweep.pack, [1.0, 1.0]), frozenset()) is None


def test_a_sweep_that_ran_out_of_time_says_how_far_it_came(sweep: Any) -> None:
    bench = made_bench(sweep.pack, [1.0, 0.0, 2.0])
    table = swept_table(sweep, bench, "knock-out", stopped=True)
    rows = (*table.rows[:2], sweep.table.UnitRow("c", ("c",), 1, None, None, None, None, None, True, False))
    from dataclasses import replace

    report = sweep.report.sweep_report(replace(table, rows=rows), "x", None, None)
    assert report.summary == "The time ran out after 2 of 3 units."
    assert report.level.value == "warning"


def test_it_is_json(sweep: Any) -> None:
    import json

    data = sweep.to_json(swept_table(sweep, made_bench(sweep.pack, [2.0, 0.0], scenes=1), "knock-out"))
    assert json.loads(json.dumps(data, allow_nan=False))["rows"][0]["effect"]["high"] is None
