"""Statistics, verdicts, sentences, texts and pictures of measurements, from runs made by hand."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from measurement_runs import GIB, cycles, memory, run
from pack.nodes.core.measure.picture import measurement_picture, run_bars
from pack.nodes.core.measure.report import build_measurement
from pack.nodes.core.measure.runs import Figure, LoraMath, Ratio, RunFacts, measurement_json
from pack.nodes.core.measure.stats import median, narrow_enough, paired_ratio, quantile, spread_of, t95
from pack.nodes.core.measure.summary import compare_conditions, median_memory, memory_segments, summarise_condition
from pack.nodes.core.measure.text import measurement_text, ratio_text
from pack.nodes.core.measure.verdict import compare_outputs, judge_difference, noise_floor, speed_verdict
from pack.nodes.core.measure.why import TEMPLATES, amount, duration, explain
from support import some

NUMBERS = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=40)


@settings(deadline=None)
@given(NUMBERS, st.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9)


def test_nothing_has_no_median() -> None:
    assert median([]) is None
    assert spread_of([]) is None


@pytest.mark.parametrize(("degrees", "value"), [(1, 12.7062), (4, 2.7764), (30, 2.0423), (40, 2.0211), (120, 1.9799)])
def test_students_t_is_that_of_the_tables(degrees: int, value: float) -> None:
    assert t95(degrees) == pytest.approx(value, abs=0.001)


def test_the_interval_covers_the_truth_in_95_of_100_cases() -> None:
    source = random.Random(5)
    hits = 0
    for _ in range(600):
        a = [100 * math.exp(source.gauss(0, 0.05)) for _ in range(5)]
        b = [110 * math.exp(source.gauss(0, 0.05)) for _ in range(5)]
        ratio = paired_ratio(a, b)
        assert ratio.low is not None
        assert ratio.high is not None
        hits += ratio.low <= 1.1 <= ratio.high
    assert 0.93 <= hits / 600 <= 0.975


def test_drift_that_both_share_drops_out() -> None:
    a = [100.0, 120.0, 150.0, 90.0]
    ratio = paired_ratio(a, [value * 1.07 for value in a])
    assert ratio == Ratio(pytest.approx(1.07), pytest.approx(1.07), pytest.approx(1.07), 4)


@pytest.mark.parametrize(
    ("a", "b", "n"), [([], [], 0), ([1.0], [2.0], 1), ([None, 2.0], [1.0, None], 0), ([0.0, 2.0], [1.0, 3.0], 1)]
)
def test_a_ratio_without_an_interval_says_why(a: list[float | None], b: list[float | None], n: int) -> None:
    ratio = paired_ratio(a, b)
    assert (ratio.n, ratio.low, ratio.high) == (n, None, None)
    assert ratio.reason


def test_narrow_enough_needs_every_interval() -> None:
    assert narrow_enough([Ratio(1.0, 0.99, 1.01, 4)], 0.02)
    assert not narrow_enough([Ratio(1.0, 0.99, 1.01, 4), Ratio(1.0, reason="one pair")], 0.02)
    assert not narrow_enough([], 0.02)


def test_cold_runs_are_kept_apart() -> None:
    runs = cycles("a", 3, first=582.0, steady=87.0)
    summary = summarise_condition(runs)
    assert summary.steady_ms is not None
    assert (summary.steady_ms.median, summary.steady_ms.n) == (87.0, 9)
    assert (summary.first_ms.value, summary.first_warm_ms.value, summary.extra_ms.value) == (582.0, 87.0, 495.0)
    assert summary.switch_s.value == pytest.approx(0.495)
    assert summary.iterations_per_s.value == pytest.approx(1000 / 88)


def test_one_evaluation_has_no_steady_one_and_says_so() -> None:
    summary = summarise_condition([run(count=1, gaps_ms=())])
    assert summary.steady_ms is None
    assert summary.iterations_per_s.value is None
    assert "one evaluation" in summary.iterations_per_s.reason
    assert summary.prepare_s.reason == "no run after a switch"


def test_heuns_steps_per_second_count_steps() -> None:
    summary = summarise_condition([run(count=7, steps=4, gaps_ms=(0.0,) * 6)])
    assert summary.iterations_per_s.value == pytest.approx(1000 / (100 * 7 / 4))


def test_memory_that_was_not_read_stays_a_reason() -> None:
    merged = median_memory([memory(ram_low=1.0), memory(ram_low=3.0)])
    assert merged.ram_low.value == 2.0
    assert merged.process_low == Figure(None, "not read")


def test_weights_outside_torch_are_not_counted_twice() -> None:
    figures = memory(weights_resident=7 * GIB, torch_allocated_peak=0.5 * GIB, process_low=9 * GIB, cast_buffers=GIB)
    dynamic = memory_segments(figures, RunFacts(mode="dynamic VRAM"))
    assert [(s.name, s.size_bytes / GIB) for s in dynamic] == [
        ("weights", 7.0), ("activations", 0.5), ("cast_buffers", 1.0), ("rest", 0.5),
    ]  # fmt: skip
    legacy = replace(figures, torch_allocated_peak=Figure(7.75 * GIB))
    assert [(s.name, s.size_bytes / GIB) for s in memory_segments(legacy, RunFacts(mode="fully loaded"))] == [
        ("weights", 7.0), ("activations", 0.75), ("rest", 1.25),
    ]  # fmt: skip
    assert memory_segments(memory(process_low=1.0), RunFacts()) == ()


@pytest.mark.parametrize(
    ("mae", "floor", "verdict"),
    [
        (0.0, 0.0, "identical"), (0.0, None, "identical"), (0.1, None, "unknown"), (0.1, 0.0, "different"),
        (0.1, 0.05, "noise"), (0.15, 0.05, "noise"), (0.151, 0.05, "different"), (math.nan, 0.0, "unknown"),
    ],
)  # fmt: skip
def test_a_difference_is_held_against_the_floor(mae: float, floor: float | None, verdict: str) -> None:
    assert judge_difference(mae, floor, 0.01).verdict == verdict


def test_outputs_that_jitter_are_not_told_apart_and_a_real_change_is() -> None:
    generator = torch.Generator().manual_seed(1)

    def jitter(base: torch.Tensor) -> torch.Tensor:
        return base + 0.01 * torch.randn(base.shape, generator=generator)

    base = torch.randn(1, 4, 8, 8, generator=generator)
    a, b = [jitter(base) for _ in range(3)], [jitter(base) for _ in range(3)]
    assert compare_outputs(a, b).verdict == "noise"
    assert "not distinguishable from run-to-run noise" in compare_outputs(a, b).text
    assert compare_outputs(a, [value + 0.2 for value in b]).verdict == "different"
    assert compare_outputs(a, [torch.zeros(1, 4, 2, 2)]).verdict == "unknown"
    assert noise_floor([base]) is None


@pytest.mark.parametrize(
    ("ratio", "iqr", "words"),
    [
        (Ratio(1.2, 1.18, 1.22, 5), 0.01, "20.0 % longer (95 % interval +18.0 % to +22.0 %)"),
        (Ratio(0.5, 0.49, 0.51, 5), 0.01, "50.0 % less time"),
        (Ratio(1.001, 0.99, 1.01, 5), 0.01, 'No difference in the steady pace of "b" was found'),
        (Ratio(1.1, 0.8, 1.4, 2), 0.01, "Not settled"),
        (Ratio(1.2, 1.18, 1.22, 5), 0.3, "No verdict on speed: evaluations of one condition spread by 30%"),
        (Ratio(1.2, n=1, reason="one pair"), 0.01, "one pair of runs gives no interval"),
    ],
)
def test_speed_is_only_judged_where_the_figures_carry_it(ratio: Ratio, iqr: float, words: str) -> None:
    spread = spread_of([100 * (1 - iqr), 100.0, 100 * (1 + iqr)])
    assert words in speed_verdict(ratio, spread, spread, "b")[1]


def test_a_difference_of_pace_below_that_of_equal_runs_is_none() -> None:
    spread = spread_of([99.0, 100.0, 101.0])
    word, text = speed_verdict(Ratio(1.021, 1.008, 1.035, 4), spread, spread, "b", floor=0.03)
    assert word == "same"
    assert "+2.1 % is no more than two runs of one model differ here (3.0%)" in text
    assert speed_verdict(Ratio(1.021, 1.008, 1.035, 4), spread, spread, "b", floor=0.002)[0] == "slower"
    runs = [run("a", 100, 104, after_switch=True), run("a", 100, 100)] * 2
    assert compare_conditions(runs, runs).speed_floor == pytest.approx(1 - 100 / 104)
    assert compare_conditions(runs[1::2], runs[1::2]).speed_floor is None


def test_a_comparison_pairs_warm_runs_in_order() -> None:
    comparison = compare_conditions(cycles("a", 4, 300, 100, drift=10), cycles("b", 4, 600, 105, drift=10.5))
    assert comparison.steady.value == pytest.approx(1.05)
    assert comparison.steady.n == 4
    assert comparison.memory["weights_total"].value == pytest.approx(1.0)
    assert comparison.memory["process_low"].reason


PATCHED = RunFacts(mode="dynamic VRAM", patches=100, sampler="euler", cfg=1.0)


@pytest.mark.parametrize(
    ("changes", "first", "expected"),
    [
        ({"facts": PATCHED, "lora": LoraMath(first_calls=100, first_ms=400)}, 600, {"first_is_patching"}),
        ({"facts": PATCHED, "lora": LoraMath(first_calls=100, first_ms=40)}, 600, {"first_is_staging"}),
        ({}, 600, {"first_is_warm_up"}),
        ({"facts": replace(PATCHED, compiled=True)}, 9000, {"first_is_compiling"}),
        ({"prepare_s": 7.5, "lora": LoraMath(prepare_calls=100, prepare_ms=6000)}, 100, {"loading"}),
        ({"streamed_bytes": (int(12 * GIB),) * 4}, 100, {"streaming_unknown"}),
        ({"lora": LoraMath(later_calls=300, later_ms=90)}, 100, {"patching_every_step"}),
        ({"facts": replace(PATCHED, patches=0, bypass_layers=100)}, 100, {"bypass"}),
        ({"facts": replace(PATCHED, quantised_layers=90, slowed_quantised_layers=80)}, 100, {"quantised_off"}),
        ({"gaps_ms": (30.0,) * 3, "facts": replace(PATCHED, preview="taesd")}, 100, {"between_previews"}),
        ({"gaps_ms": (30.0,) * 3}, 100, {"between"}),
        ({"predictions": 8, "facts": replace(PATCHED, cfg=4.0)}, 100, {"cfg"}),
        ({"steps": 2}, 100, {"sampler"}),
        ({"evaluations_ms": (100.0, 80.0, 100.0, 130.0)}, 100, {"noisy"}),
        ({}, 100, {"nothing"}),
    ],
)  # fmt: skip
def test_each_cause_has_its_sentence(changes: dict[str, object], first: float, expected: set[str]) -> None:
    runs = [run("a", first, after_switch=True, **changes), run("a", **changes)]
    sentences = explain([summarise_condition(runs)])
    assert {sentence.id for sentence in sentences} == expected
    for sentence in sentences:
        assert sentence.text == TEMPLATES[sentence.id].format(**sentence.values)
        assert "{" not in sentence.text


def test_previews_and_weights_that_stream_are_named_with_their_size() -> None:
    runs = [
        run("a", streamed_bytes=(int(12 * GIB),) * 4, memory=memory(weights_total=18 * GIB, weights_resident=6 * GIB))
    ]
    (sentence,) = explain([summarise_condition(runs)])
    assert "12.00 GiB of weights are copied to the device in every evaluation, because 6.00 GiB of 18.00 GiB stay" in (
        sentence.text
    )


def whole_report() -> object:
    runs = [
        *cycles("without LoRA", 3, 120, 87, facts=PATCHED),
        *cycles("with LoRA", 3, 583, 88, facts=PATCHED),
        run("with LoRA", outcome="interrupted", evaluations_ms=(), gaps_ms=()),
    ]
    difference = judge_difference(0.3, 0.0, 0.2)
    return build_measurement(
        "benchmark", runs, ["without LoRA", "with LoRA"], {"torch": "2"}, {"with LoRA": (difference, None)}
    )


def test_a_report_tells_what_a_lora_costs() -> None:
    report = whole_report()
    assert "Switching to it costs 495 ms once" in report.summary
    assert "1 of 13 runs ended early" in report.notes[0]
    data = json.loads(json.dumps(measurement_json(report)))
    assert (data["schema"], data["version"], data["kind"]) == ("patchbay.measurement", 1, "benchmark")
    assert [condition["runs"] for condition in data["conditions"]] == [6, 6]
    text = measurement_text(report)
    assert "steady evaluation" in text
    assert "A/A floor: the steady paces of two runs of one model differ by" in text
    assert "Not read:" in text


def test_runs_of_an_earlier_prompt_with_other_settings_are_not_mixed_in() -> None:
    """A Measure node keeps its recorder while ComfyUI keeps the node: the size may have been changed between runs."""
    small = replace(run().facts, shape=(1, 128, 32, 32))
    runs = [run("a", 20, 20, facts=small), run("a", 100, 100, number=2), run("a", 100, 100, count=8, number=3),
            run("a", 110, 110, number=4)]  # fmt: skip
    report = build_measurement("measure", runs, ["a"], {})
    (condition,) = report.conditions
    assert condition.runs == 2
    assert condition.steady_ms.median == pytest.approx(105)
    assert "2 earlier runs with another size, sampler, CFG or number of steps are not counted" in report.notes[0]
    assert not any("latent sizes" in note for note in some(report.notes))
    both = build_measurement("measure", [*runs, run("b", facts=small, number=5)], ["a", "b"], {})
    assert any("different latent sizes: [1, 128, 32, 32], [1, 128, 64, 64]" in note for note in both.notes)


def test_a_condition_is_compared_with_the_one_that_was_asked_for() -> None:
    runs = [*cycles("a", 2, 100, 100), *cycles("b", 2, 50, 50), *cycles("c", 2, 55, 55)]
    report = build_measurement("benchmark", runs, ["a", "b", "c"], {}, references={"c": "b"})
    assert [(item.a, item.b) for item in report.comparisons] == [("a", "b"), ("b", "c")]
    assert report.comparisons[1].steady.value == pytest.approx(1.1)


def test_nothing_measured_is_an_error_that_says_so() -> None:
    report = build_measurement("measure", [], ["a"], {})
    assert report.level.value == "error"
    assert measurement_text(report)
    assert measurement_picture(report).shape[2] == 3


def test_the_picture_shows_every_evaluation_and_cuts_what_is_too_long() -> None:
    report = whole_report()
    picture = measurement_picture(report)
    assert picture.shape[1:] == (1000, 3)
    assert picture.shape[0] > 250
    cold = next(run for run in report.runs if run.after_switch)
    assert [kind for kind, _ in run_bars(cold)] == ["loading", "first", "steady", "steady", "steady"]
    orange = ((picture - torch.tensor([230, 159, 0]) / 255).abs().max(dim=2).values < 0.01).sum()
    assert orange > 300


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=300))
def test_any_name_is_shown_as_one_line(name: str) -> None:
    label = name.strip() or "x"
    report = build_measurement("measure", [run(label), run(label)], [label], {})
    assert measurement_text(report).endswith("\n")
    assert measurement_picture(report).shape[1] == 1000


@pytest.mark.parametrize(
    ("value", "text"), [(0.4218, "0.422 ms"), (87.12, "87.1 ms"), (7960, "7.96 s"), (582_000, "582 s")]
)
def test_durations_have_three_digits(value: float, text: str) -> None:
    assert duration(value) == text


@pytest.mark.parametrize(("value", "text"), [(512, "512 B"), (2**20, "1 MiB"), (7.75 * GIB, "7.75 GiB")])
def test_amounts_are_binary(value: float, text: str) -> None:
    assert amount(value) == text


def test_a_ratio_is_shown_with_its_interval_or_without_a_hollow_one() -> None:
    assert ratio_text(Ratio(1.2, 1.1, 1.3, 4)) == "+20.0 % (+10.0 % to +30.0 %)"
    assert ratio_text(Ratio(1.2, 0.1, 9.0, 2)) == "+20.0 % (too few runs for an interval)"
    assert ratio_text(Ratio(None, reason="no pair")) == "not known (no pair)"


def test_the_page_has_the_same_sentences() -> None:
    page = (Path(__file__).parents[4] / "js" / "lib" / "words" / "strings_measure.mjs").read_text(encoding="utf-8")
    lacking = [name for name, text in TEMPLATES.items() if f'"why.{name}": {json.dumps(text)},' not in page]
    assert lacking == []
