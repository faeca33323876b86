"""The choice between merge and bypass, and the number of steps that it is made for."""

from __future__ import annotations

import importlib.util
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from pack.nodes.core.measure.method_costs import BYPASS_MS_PER_GB, STAGE_MS_PER_GB, Situation, choose_method
from pack.nodes.core.prompts.steps import steps_after

GB = 1_000_000_000


def situation(**changes: Any) -> Situation:
    return Situation(**{"mode": "dynamic", "steps": 4, "patched_bytes": 8 * GB, "beside": 90, "merged": 0, **changes})


@pytest.mark.parametrize(
    ("changes", "method", "words"),
    [
        ({}, "bypass", "4 steps"),
        ({"steps": 50}, "merge", "50 steps"),
        ({"mode": "legacy", "steps": 50}, "bypass", "legacy loading"),
        ({"mode": "legacy", "steps": 500}, "merge", "500 steps"),
        ({"steps": None}, "bypass", "assumed"),
        ({"mode": "cpu"}, "merge", "CPU"),
        ({"beside": 0, "merged": 5, "noise": 9.0, "kept": 0.1}, "merge", "nothing in this file"),
        ({"steps": 500, "kept": 1.0, "noise": 1.8}, "bypass", "quantised"),
        ({"steps": 500, "kept": 0.5, "noise": 0.2}, "bypass", "quantised"),
        ({"steps": 500, "kept": 1.0, "noise": 0.2}, "merge", "500 steps"),
        ({"steps": 500, "patched_each_time": True}, "bypass", "each time"),
        ({"beside": 10, "merged": 80}, "merge", "80 of its layers"),
        ({"whole_bytes": 4 * GB}, "merge", "no small factors"),
        ({"stage_bytes": GB // 10}, "merge", "0.1 GB"),
        ({"stage_bytes": 8 * GB, "unstage_bytes": 8 * GB}, "merge", "loaded first"),
        ({"stage_bytes": 8 * GB, "unstage_bytes": GB}, "bypass", "loaded first"),
        ({"stage_bytes": 0}, "merge", "as they are"),
    ],
)
def test_the_cheaper_method_with_its_reason(changes: dict[str, Any], method: str, words: str) -> None:
    choice = choose_method(situation(**changes))
    assert choice.method == method
    assert words in choice.reason


def test_the_choice_does_not_depend_on_the_size_of_the_model() -> None:
    for steps in (1, 5, 9, 11, 20):
        choices = {choose_method(situation(steps=steps, patched_bytes=n * GB)).method for n in (1, 8, 60)}
        assert len(choices) == 1


def test_its_costs_are_those_of_the_measured_table() -> None:
    """Of the mean over the sizes of the model: a change and a step cost about in proportion to the weights."""
    folder = Path(__file__).parents[3] / "gpu"
    spec = importlib.util.spec_from_file_location("lora_table", folder / "lora_table.py")
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    results = json.loads((folder / "results" / "lora_table.json").read_text(encoding="utf-8"))["results"]
    measured = [(result["mode"], table.costs(result)) for result in results]
    for mode, stated in STAGE_MS_PER_GB.items():
        found = [cost["stage_ms_per_gb"] for of_mode, cost in measured if of_mode == mode and "stage_ms_per_gb" in cost]
        assert statistics.mean(found) == pytest.approx(stated, rel=0.2), mode
    steps = [cost["bypass_ms_per_gb"] for mode, cost in measured if mode == "dynamic" and "bypass_ms_per_gb" in cost]
    assert statistics.mean(steps) == pytest.approx(BYPASS_MS_PER_GB, rel=0.2)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def test_steps_come_from_what_follows_the_node() -> None:
    prompt = {
        "1": node("UNETLoader"),
        "2": node("PatchbayApplyLora", model=["1", 0]),
        "3": node("KSampler", model=["2", 0], steps=8),
        "4": node("KSampler", model=["1", 0], steps=40),
        "5": node("KSampler", model=["2", 0], steps=["9", 0]),
    }
    assert steps_after(prompt, "2") == 8
    assert steps_after(prompt, 2) == 8  # type: ignore[arg-type]
    assert steps_after(prompt, "1") == 40
    assert steps_after(prompt, None) == 40


def test_a_scheduler_without_a_model_counts_where_nothing_nearer_says() -> None:
    prompt = {
        "2": node("PatchbayApplyLora"),
        "3": node("SamplerCustomAdvanced", guider=["2", 0], sigmas=["4", 0]),
        "4": node("Flux2Scheduler", steps=4, width=1024),
    }
    assert steps_after(prompt, "2") == 4


@pytest.mark.parametrize(
    "prompt", [None, {}, [], {"1": None}, {"1": {"inputs": []}}, {"1": node("A", steps=True, x=["1", 0])}]
)
def test_a_prompt_that_says_nothing(prompt: Any) -> None:
    assert steps_after(prompt, "1") is None


def test_a_loop_ends() -> None:
    assert steps_after({"1": node("A", x=["2", 0]), "2": node("B", x=["1", 0], steps=3)}, "1") == 3
