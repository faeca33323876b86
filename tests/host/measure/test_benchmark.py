"""Measure Report and Benchmark on real models on the CPU: order of runs, verdicts, saved results, clean ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from measure_support import (
    VirtualTime,
    attached_things,
    conditioning,
    latent,
    make_model,
    sample,
    slow_step,
    with_lora,
)
from support import some


@pytest.fixture(scope="module")
def host(pack_nodes: dict[str, Any]) -> Any:
    import importlib

    return importlib.import_module("pack.nodes.host.measure.benchmark")


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return make_model()


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, pack_nodes: dict[str, Any]) -> Iterator[Path]:
    """A user folder of the test's own."""
    import folder_paths

    before = folder_paths.get_user_directory()
    folder_paths.set_user_directory(str(tmp_path))
    yield tmp_path / "default" / "lora-patchbay" / "measurements.jsonl"
    folder_paths.set_user_directory(before)


@pytest.fixture
def clock(host: Any, monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """The time that the benchmark and the recorder see."""
    virtual = VirtualTime()
    for name in ("benchmark", "clocks", "run"):
        monkeypatch.setattr(f"pack.nodes.host.measure.{name}.time", virtual)
    return virtual


def settings(host: Any, **changes: Any) -> Any:
    values = {
        "positive": conditioning(), "negative": conditioning(1), "latent": latent(), "seed": 7, "sampler_name": "euler",
        "scheduler": "simple", "budget_s": 0.1, "precision": 0.01,
    }  # fmt: skip
    return host.BenchSettings(**(values | changes))


def conditions(host: Any, models: dict[str, Any], steps: int = 3) -> list[Any]:
    return [host.BenchCondition(label, model, steps, 1.0) for label, model in models.items()]


def test_runs_go_a_a_b_b(host: Any, model: Any, clock: VirtualTime) -> None:
    rows = conditions(host, {"a": slow_step(model, 0.01, clock=clock), "b": with_lora(model)})
    result = host.run_benchmark(rows, settings(host), lambda *_: None)
    assert [run.condition for run in result.recorder.runs] == ["a", "a", "b", "b"] * 2
    assert [run.after_switch for run in result.recorder.runs][1:] == [False, True, False, True, False, True, False]
    assert all((run.steps, len(run.evaluations_ms)) == (3, 3) for run in some(result.recorder.runs))
    assert (result.cycles, result.stopped_by) == (2, "the time of 0.1 s is spent")


def test_it_goes_on_until_the_interval_is_narrow(host: Any, model: Any, clock: VirtualTime) -> None:
    rows = conditions(host, {name: slow_step(model, 0.02, clock=clock) for name in "ab"})
    result = host.run_benchmark(rows, settings(host, budget_s=60.0, precision=0.5), lambda *_: None)
    assert result.cycles == 3
    assert result.stopped_by == "every ratio is known to within 50.0%"


def test_a_cycle_that_does_not_fit_into_the_time_is_not_begun(host: Any, model: Any, clock: VirtualTime) -> None:
    """A cycle takes 2 x 3 steps of 100 ms: five of them fit into 3.3 s."""
    rows = conditions(host, {"a": slow_step(model, 0.1, clock=clock)})
    result = host.run_benchmark(rows, settings(host, budget_s=3.3), lambda *_: None)
    assert (result.cycles, result.stopped_by) == (5, "the time of 3.3 s is spent")


def test_each_run_gets_the_same_noise_and_settings_of_its_own(host: Any, model: Any) -> None:
    rows = [host.BenchCondition("four", model, 4, 1.0), host.BenchCondition("two", model, 2, 1.0)]
    result = host.run_benchmark(rows, settings(host), lambda *_: None)
    assert torch.equal(result.latents[0][0], result.latents[0][1])
    assert torch.equal(result.latents[0][0], sample(model, 4))
    assert torch.equal(result.latents[1][0], sample(model, 2))
    assert [channel.runs[0].steps for channel in result.recorder.channels] == [4, 2]


def test_progress_counts_every_step_and_ends_full(host: Any, model: Any, clock: VirtualTime) -> None:
    seen: list[tuple[int, int]] = []
    rows = conditions(host, {"a": slow_step(model, 0.02, clock=clock)})
    host.run_benchmark(rows, settings(host), lambda *at: seen.append(at))
    assert [done for done, _ in seen] == list(range(1, 13))
    assert seen[-1] == (12, 12)


@pytest.mark.parametrize("how", ["error", "interrupt"])
def test_nothing_stays_attached_however_it_ends(host: Any, model: Any, how: str) -> None:
    import comfy.model_management

    patched = with_lora(model)
    options = dict(patched.model_options)

    def progress(done: int, _: int) -> None:
        if done == 8:
            if how == "error":
                raise RuntimeError("stop here")
            comfy.model_management.interrupt_current_processing(True)

    expected = RuntimeError if how == "error" else comfy.model_management.InterruptProcessingException
    with pytest.raises(expected):
        host.run_benchmark(conditions(host, {"a": model, "b": patched}), settings(host, blocks=True), progress)
    comfy.model_management.interrupt_current_processing(False)
    assert attached_things(model) == attached_things(patched) == []
    assert not any(patched.wrappers.values())
    assert patched.model_options == options


def run_node(pack_nodes: dict[str, Any], model: Any, other: Any, **changes: Any) -> Any:
    node = pack_nodes["PatchbayBenchmark"].PREPARE_CLASS_CLONE(None)
    values = {
        "positive": conditioning(), "negative": conditioning(1), "latent_image": latent(), "seed": 7, "steps": 3,
        "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "time_budget": 1.0, "precision": 1.0,
        "conditions": "without\nwith",
    }  # fmt: skip
    return node.execute(model, model_b=other, **(values | changes))


def test_the_node_tells_a_lora_from_noise(pack_nodes: dict[str, Any], model: Any, user_folder: Path) -> None:
    result = run_node(pack_nodes, model, with_lora(model))
    latents, report, text, picture, data = result.args
    (comparison,) = report.comparisons
    assert comparison.latents.verdict == "different"
    assert comparison.latents.floor == 0
    assert "equal runs repeat bit for bit" in comparison.latents.text
    assert latents["samples"].shape == (2, 128, 4, 4)
    assert picture.shape[0] == 1
    assert picture.shape[3] == 3
    (page,) = result.ui["patchbay_measurement"]
    whole = json.loads(data)
    assert [(run["condition"], run["after_switch"]) for run in page["runs"]] == [
        ("without", True), ("without", False), ("with", True), ("with", False),
    ]  # fmt: skip
    assert len(whole["runs"]) >= 8
    assert page | {"runs": []} == whole | {"runs": []}
    assert "steady evaluation" in text
    assert report.conditions[1].lora.prepare_calls > 0
    saved = [json.loads(line) for line in user_folder.read_text(encoding="utf-8").splitlines()]
    assert [entry["id"] for entry in saved] == ["0001"]
    assert saved[0]["context"]["conditions"]["with"]["patches_hash"]
    assert "Saved as 0001" in text


def test_the_same_model_twice_is_identical(pack_nodes: dict[str, Any], model: Any, user_folder: Path) -> None:
    result = run_node(pack_nodes, model, model.clone(), conditions="one\nother", save_results=False)
    (comparison,) = result.args[1].comparisons
    assert comparison.latents.verdict == "identical"
    assert not user_folder.exists()


@pytest.mark.parametrize(("seconds", "speed"), [(0.15, "slower"), (0.024, "faster"), (0.06, "same")])
def test_a_slower_model_is_found_slower_by_what_it_is(
    pack_nodes: dict[str, Any], model: Any, clock: VirtualTime, seconds: float, speed: str
) -> None:
    one, two = slow_step(model, 0.06, clock=clock), slow_step(model, seconds, clock=clock)
    result = run_node(pack_nodes, one, two, conditions="one\nother", time_budget=3.0, save_results=False)
    (comparison,) = result.args[1].comparisons
    assert comparison.steady.value == pytest.approx(seconds / 0.06, rel=1e-3)
    assert comparison.steady.low <= comparison.steady.value <= comparison.steady.high
    assert comparison.speed == speed


def test_what_varies_too_much_gets_no_verdict(pack_nodes: dict[str, Any], model: Any, clock: VirtualTime) -> None:
    """One model takes 20, 40, 60 ... ms in turn, as on a machine that is busy with something else."""
    waits = iter(range(1000))
    varying = slow_step(model, 0.0)
    inner = varying.model_options["model_function_wrapper"]

    def wrapper(apply: Any, arguments: dict[str, Any]) -> torch.Tensor:
        clock.sleep(0.02 * (1 + next(waits) % 5))
        return inner(apply, arguments)

    varying.set_model_unet_function_wrapper(wrapper)
    steady = slow_step(model, 0.06, clock=clock)
    result = run_node(pack_nodes, steady, varying, conditions="one\nother", time_budget=3.0, save_results=False)
    (comparison,) = result.args[1].comparisons
    assert comparison.speed == "noisy"


def test_one_model_alone_is_measured_too(pack_nodes: dict[str, Any], model: Any) -> None:
    report = run_node(pack_nodes, model, None, conditions="", save_results=False).args[1]
    assert [condition.label for condition in report.conditions] == ["model a"]
    assert report.comparisons == ()


def test_more_names_than_models_is_an_error_that_says_so(pack_nodes: dict[str, Any], model: Any) -> None:
    with pytest.raises(ValueError, match="3 lines for 2 connected models"):
        run_node(pack_nodes, model, model, conditions="a\nb\nc")


def test_wrong_condition_text_is_refused_before_the_run(pack_nodes: dict[str, Any]) -> None:
    node = pack_nodes["PatchbayBenchmark"]
    assert node.validate_inputs(conditions="a\nb | steps=4 cfg=1") is True
    assert 'line 2: "steps=none"' in node.validate_inputs(conditions="a\nb | steps=none")


def test_measure_nodes_feed_one_table(pack_nodes: dict[str, Any], model: Any) -> None:
    measure = pack_nodes["PatchbayMeasure"].PREPARE_CLASS_CLONE(None)
    report_node = pack_nodes["PatchbayMeasureReport"].PREPARE_CLASS_CLONE(None)
    plain, recorder = measure.execute(model, "plain").args
    patched, recorder = measure.execute(with_lora(model), "lora", True, False, recorder).args
    for measured, sampler in ((plain, "euler"), (plain, "euler"), (patched, "heun"), (patched, "heun")):
        sample(measured, 4, sampler)
    result = report_node.execute(recorder, False, after=None)
    report = result.args[0]
    assert [(c.label, c.steps, c.evaluations, c.runs) for c in report.conditions] == [
        ("plain", 4, 4, 2),
        ("lora", 4, 7, 2),
    ]
    assert [block.block for block in report.conditions[1].blocks][0] == "double_blocks.0"
    assert any(sentence.id == "sampler" for sentence in report.sentences)
    assert result.ui["patchbay_measurement"][0]["schema"] == "patchbay.measurement"


def test_a_report_before_any_run_says_so(pack_nodes: dict[str, Any], model: Any, user_folder: Path) -> None:
    measure = pack_nodes["PatchbayMeasure"].PREPARE_CLASS_CLONE(None)
    _, recorder = measure.execute(model, "plain").args
    result = pack_nodes["PatchbayMeasureReport"].PREPARE_CLASS_CLONE(None).execute(recorder, True, after=None)
    assert result.args[0].level == "error"
    assert "no sampler has run" in result.args[1]
    assert not user_folder.exists()
