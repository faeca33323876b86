"""The recorder on real models on the CPU: counts and orderings are exact, times and memory are right."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from measure_support import VirtualTime, attached_things, make_model, patched_layers, sample, slow_step, with_lora
from support import some


@pytest.fixture(scope="module")
def host(pack_nodes: dict[str, Any]) -> Any:
    """The recorder's module, imported as part of the pack."""
    import importlib

    return importlib.import_module("pack.nodes.host.measure.recorder")


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return make_model()


@pytest.fixture
def clock(host: Any, monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """The time that the recorder sees."""
    virtual = VirtualTime()
    for name in ("clocks", "run"):
        monkeypatch.setattr(f"pack.nodes.host.measure.{name}.time", virtual)
    return virtual


def options(host: Any, **changes: bool) -> Any:
    return type(host.RecorderOptions())(**changes)


@pytest.mark.parametrize(("sampler", "evaluations"), [("euler", 4), ("heun", 7), ("dpm_2", 7), ("dpmpp_2m", 4)])
def test_steps_and_evaluations_are_counted_apart(host: Any, model: Any, sampler: str, evaluations: int) -> None:
    measured, recorder = host.attach(model, "plain")
    sample(measured, 4, sampler)
    (run,) = recorder.runs
    assert (run.steps, len(run.evaluations_ms), len(run.gaps_ms)) == (4, evaluations, evaluations - 1)
    assert (run.outcome, run.clock, run.facts.mode, run.facts.sampler) == ("success", "host clock", "CPU", sampler)
    assert run.forwards == evaluations
    assert run.predictions == evaluations


def test_both_sides_of_cfg_are_counted(host: Any, model: Any) -> None:
    measured, recorder = host.attach(model, "plain")
    sample(measured, 3, cfg=4.0)
    (run,) = recorder.runs
    assert (len(run.evaluations_ms), run.predictions, run.facts.cfg) == (3, 6, 4.0)


def test_the_result_is_the_same_bit_for_bit(host: Any, model: Any) -> None:
    measured, _ = host.attach(with_lora(model), "lora", options(host, blocks=True))
    assert torch.equal(sample(measured), sample(with_lora(model)))


def test_lora_arithmetic_is_counted_where_it_happens(host: Any, model: Any) -> None:
    sample(model)
    measured, recorder = host.attach(with_lora(model), "lora")
    sample(measured)
    sample(measured)
    cold, warm = recorder.runs
    assert (cold.lora.prepare_calls, cold.lora.first_calls, cold.lora.later_calls) == (patched_layers(), 0, 0)
    assert 0 < cold.lora.prepare_ms <= cold.prepare_s * 1000
    assert (warm.lora.prepare_calls, warm.lora.first_calls, warm.lora.later_calls) == (0, 0, 0)
    assert (cold.after_switch, warm.after_switch) == (True, False)
    assert cold.facts.patches == patched_layers()


def test_weights_that_do_not_stay_are_patched_in_every_evaluation(host: Any, model: Any) -> None:
    """ComfyUI's partly loaded model: a patch runs whenever its weight is cast."""
    from comfy.patcher_extension import WrappersMP

    def load_partly(executor: Any, patcher: Any, *args: Any, **kwargs: Any) -> Any:
        loaded = executor(patcher, *args, **kwargs)
        patcher.unpatch_model(patcher.offload_device)
        patcher.load(patcher.load_device, lowvram_model_memory=1)
        return loaded

    patched = with_lora(model)
    sample(patched, 1)
    measured, recorder = host.attach(patched, "partly")
    measured.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "partly", load_partly)
    result = sample(measured, 3)
    (run,) = recorder.runs
    assert (run.lora.prepare_calls, run.lora.first_calls) == (0, patched_layers())
    assert run.lora.later_calls == 2 * patched_layers()
    assert 0 < run.lora.later_ms < sum(run.steady_ms)
    sample(model, 1)
    assert attached_things(patched) == []
    assert torch.allclose(result, sample(with_lora(model), 3), atol=1e-4)


def test_calls_are_counted_whichever_clone_the_weights_were_loaded_from(host: Any, model: Any) -> None:
    """Layers look their patches up in the table of the clone that was loaded; another may have the same patches."""
    from pack.nodes.host.measure.clocks import HostClock
    from pack.nodes.host.measure.lora_calls import timed_adapters

    patched = with_lora(model)
    sample(patched, 1)
    patched.unpatch_model(patched.offload_device)
    patched.load(patched.load_device, lowvram_model_memory=1)
    seen: list[Any] = []
    with timed_adapters(patched.clone(), HostClock().mark, lambda *marks: seen.append(marks)):
        for module in patched.model.modules():
            for function in getattr(module, "weight_function", ()):
                function(torch.zeros(module.weight.shape))
    assert len(seen) == patched_layers()
    sample(model, 1)
    assert attached_things(patched) == []


def test_adapters_are_left_as_they_are_while_they_are_timed(host: Any, model: Any) -> None:
    patched = with_lora(model)
    adapters = {key: entries[0][1] for key, entries in patched.patches.items()}
    before = {key: (type(adapter), dict(vars(adapter))) for key, adapter in adapters.items()}
    during: list[bool] = []

    def look(*_: Any) -> None:
        during.append(all((type(a), dict(vars(a))) == before[key] for key, a in adapters.items()))

    measured, recorder = host.attach(patched, "lora")
    sample(measured, 2, callback=look)
    assert during == [True, True]
    assert recorder.runs[0].lora.prepare_calls == patched_layers()
    assert {key: entries[0][1] for key, entries in measured.patches.items()} == adapters


def failing(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the driver went away\nwith details")


@pytest.mark.parametrize(
    "place",
    ["run.MemoryWatch", "run.MemoryWatch.start", "clocks.HostClock.mark", "clocks.HostClock.synchronise",
     "run.read_facts", "run.MemoryWatch.boundary", "run.MemoryWatch.stop", "run.MemoryWatch.finish",
     "blocks.find_blocks"],
)  # fmt: skip
def test_an_error_of_the_driver_ends_the_measuring_and_not_the_run(
    host: Any, model: Any, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sample(with_lora(model))
    monkeypatch.setattr(f"pack.nodes.host.measure.{place}", failing)
    measured, recorder = host.attach(with_lora(model), "lora", options(host, blocks=True))
    assert torch.equal(sample(measured), expected)
    monkeypatch.undo()
    things = [thing for thing in attached_things(measured) if "thread" not in thing or "stop" not in place]
    assert things == []
    assert all(run.outcome == "not measured" or place.endswith("stop") for run in recorder.runs)
    sample(measured)
    assert recorder.runs[-1].outcome == "success"


def test_copies_that_dynamic_vram_makes_of_an_adapter_are_timed_too(host: Any, model: Any) -> None:
    from comfy.model_patcher import LowVramPatch
    from pack.nodes.host.measure.clocks import HostClock
    from pack.nodes.host.measure.lora_calls import timed_adapters

    patched = with_lora(model)
    key = next(iter(patched.patches))
    seen: list[Any] = []
    with timed_adapters(patched, HostClock().mark, lambda *marks: seen.append(marks)) as untimed:
        lazy = LowVramPatch(key, patched.patches)
        if not hasattr(lazy, "prepare"):
            pytest.skip("this ComfyUI has no dynamic VRAM")
        copy = lazy.prepare(None, None)[0][1]
        assert copy is not patched.patches[key][0][1]
        weight = torch.zeros(patched.model_state_dict()[key].shape)
        assert lazy(weight).abs().sum() > 0
    assert (len(seen), untimed) == (1, 0)
    lazy(torch.zeros_like(weight))
    assert len(seen) == 1


def test_a_run_after_another_model_is_a_switch(host: Any, model: Any) -> None:
    plain, recorder = host.attach(model, "plain")
    patched, recorder = host.attach(with_lora(model), "lora", None, recorder)
    for measured in (plain, plain, patched, patched, plain):
        sample(measured, 1)
    assert [(run.condition, run.after_switch) for run in recorder.runs][1:] == [
        ("plain", False),
        ("lora", True),
        ("lora", False),
        ("plain", True),
    ]
    assert [run.number for run in recorder.runs] == sorted(run.number for run in recorder.runs)


def test_loading_behind_the_recorders_back_is_a_switch_too(host: Any, model: Any) -> None:
    measured, recorder = host.attach(model, "plain")
    sample(measured, 1)
    sample(with_lora(model), 1)
    sample(measured, 1)
    assert [run.after_switch for run in recorder.runs][1:] == [True]


def test_names_of_conditions_stay_apart(host: Any, model: Any) -> None:
    _, recorder = host.attach(model, "same")
    _, recorder = host.attach(model, "same", None, recorder)
    _, recorder = host.attach(model, " ", None, recorder)
    assert recorder.labels == ("same", "same (2)", "model")


@pytest.mark.parametrize("how", ["success", "error", "interrupt"])
def test_nothing_stays_attached(host: Any, model: Any, how: str) -> None:
    import comfy.model_management

    error: BaseException | None = None
    if how == "error":
        error = RuntimeError("no memory")
    if how == "interrupt":
        error = comfy.model_management.InterruptProcessingException()
    patched = with_lora(model)
    classes = [type(entry[1]) for entries in patched.patches.values() for entry in entries]
    measured, recorder = host.attach(slow_step(patched, 0.0, 3, error), "lora", options(host, blocks=True))
    seen: list[list[str]] = []
    if error is None:
        sample(measured, callback=lambda *_: seen.append(attached_things(patched)))
        assert all("thread patchbay-memory" in things for things in some(seen))
    else:
        with pytest.raises(type(error)):
            sample(measured)
    (run,) = recorder.runs
    assert run.outcome == {"interrupt": "interrupted"}.get(how, how)
    assert attached_things(patched) == []
    assert [type(entry[1]) for entries in patched.patches.values() for entry in entries] == classes
    assert not host.is_attached(patched)
    assert all(not channel.active for channel in some(recorder.channels))
    assert threading.active_count() == len(threading.enumerate())
    assert torch.equal(sample(patched), sample(with_lora(model)))


def test_an_interrupted_run_keeps_its_counts_and_no_memory(host: Any, model: Any) -> None:
    measured, recorder = host.attach(slow_step(model, 0.0, 3, RuntimeError("stop")), "plain")
    with pytest.raises(RuntimeError, match="stop"):
        sample(measured)
    (run,) = recorder.runs
    assert (run.steps, run.evaluations_ms) == (2, ())
    assert run.memory.ram_low.value is None
    assert run.memory.ram_low.reason == "the run ended early"


def test_step_times_of_a_model_whose_step_takes_a_known_time(host: Any, model: Any) -> None:
    """Every call of the model waits 80 ms and tells how long it took in all; ComfyUI can only add to that."""
    taken: list[float] = []
    sample(model, 1)
    slow, recorder = host.attach(slow_step(model, 0.08, taken=taken), "slow")
    sample(slow, 6)
    (run,) = recorder.runs
    assert len(taken) == len(run.evaluations_ms) == 6
    assert min(taken) >= 80
    around = [measured - truth for measured, truth in zip(run.evaluations_ms, taken, strict=True)]
    assert min(around) >= 0
    assert run.total_s * 1000 >= sum(run.evaluations_ms)


def test_step_times_are_those_of_the_model_and_nothing_else(host: Any, model: Any, clock: VirtualTime) -> None:
    slow, recorder = host.attach(slow_step(model, 0.08, clock=clock), "slow")
    sample(slow, 3, callback=lambda *_: clock.sleep(0.05))
    (run,) = recorder.runs
    assert run.evaluations_ms == pytest.approx([80, 80, 80], abs=0.1)
    assert run.gaps_ms == pytest.approx([50, 50], abs=0.1)
    assert run.total_s == pytest.approx(3 * 0.08 + 3 * 0.05, abs=1e-3)


def test_time_between_evaluations_is_kept_apart(host: Any, model: Any) -> None:
    measured, recorder = host.attach(model, "previewing")
    sample(measured, 4, callback=lambda *_: time.sleep(0.05))
    (run,) = recorder.runs
    assert all(gap >= 50 for gap in some(run.gaps_ms))
    assert sum(run.evaluations_ms) < run.total_s * 1000 - 150


def test_process_memory_against_psutil(host: Any, model: Any) -> None:
    """A step that holds 300 MB until somebody has looked twice: the peak is what psutil sees at that moment."""
    seen: list[int] = []
    clone = model.clone()

    def wrapper(apply: Any, arguments: dict[str, Any]) -> torch.Tensor:
        block = torch.ones(300_000_000, dtype=torch.uint8)
        poller = recorder.channels[0].active[-1]._memory._poller
        looks = poller.polls
        while poller.polls < looks + 2:
            time.sleep(0.005)
        seen.append(psutil.Process().memory_info().rss)
        del block
        return apply(arguments["input"], arguments["timestep"], **arguments["c"])

    clone.set_model_unet_function_wrapper(wrapper)
    sample(model, 1)
    before = psutil.Process().memory_info().rss
    measured, recorder = host.attach(clone, "hungry")
    sample(measured, 2)
    memory = recorder.runs[0].memory
    assert memory.ram_low.value == pytest.approx(max(seen), rel=0.03)
    assert memory.ram_low.value - before == pytest.approx(300e6, rel=0.15)
    assert memory.ram_low.value <= memory.ram_high.value
    assert (memory.process_low, memory.process_high) == (memory.ram_low, memory.ram_high)


def test_every_figure_that_cannot_be_read_says_why(host: Any, model: Any) -> None:
    measured, recorder = host.attach(model, "plain")
    sample(measured, 1)
    memory = vars(recorder.runs[0].memory)
    assert {name for name, figure in memory.items() if figure.value is not None} == {
        "weights_total", "weights_resident", "process_low", "process_high", "ram_low", "ram_high",
    }  # fmt: skip
    assert all(len(figure.reason) > 15 for figure in memory.values() if figure.value is None)
    assert memory["weights_total"].value == model.model_size() == memory["weights_resident"].value


def test_blocks_are_timed_in_the_order_in_which_they_run(host: Any, model: Any, clock: VirtualTime) -> None:
    measured, recorder = host.attach(model, "plain", options(host, blocks=True))
    sample(measured, 3)
    (run,) = recorder.runs
    assert [block.block for block in run.blocks] == ["double_blocks.0", "single_blocks.0", "single_blocks.1"]
    assert all(0 < block.ms.value < min(run.steady_ms) for block in run.blocks)
    assert all(block.peak_bytes.value is None and block.peak_bytes.reason for block in some(run.blocks))


def test_bypassed_layers_are_seen(host: Any, model: Any) -> None:
    import comfy.sd
    from measure_support import SIZES
    from nano_models import native_lora

    if not hasattr(comfy.sd, "load_bypass_lora_for_models"):
        pytest.skip("this ComfyUI has no bypass")
    bypassed = comfy.sd.load_bypass_lora_for_models(model, None, native_lora(**SIZES), 1.0, 0.0)[0]
    measured, recorder = host.attach(bypassed, "bypass")
    sample(measured, 1)
    (run,) = recorder.runs
    assert run.facts.bypass_layers == patched_layers()
    assert run.lora.prepare_calls == 0


def test_our_own_bypass_is_seen_and_named(host: Any, model: Any, tmp_path: Path) -> None:
    from measure_support import SIZES
    from nano_models import native_lora, write
    from pack.nodes.host.apply.apply import apply_lora
    from pack.nodes.host.measure.context import model_context

    path = write(tmp_path / "beside.safetensors", native_lora(**SIZES))
    bypassed = apply_lora(path, "beside.safetensors", model, None, 1.0, 0.0, "", method="bypass").model
    measured, recorder = host.attach(bypassed, "bypass")
    result = sample(measured, 2)
    (run,) = recorder.runs
    assert (run.facts.bypass_layers, run.facts.patches, run.lora.first_calls) == (patched_layers(), 0, 0)
    assert torch.equal(result, sample(bypassed, 2))
    context = model_context(bypassed)
    assert (context["loras"], context["bypassed"]) == (["beside.safetensors"], patched_layers())
    assert context["patches_hash"] != model_context(model).get("patches_hash", "")


@pytest.mark.parametrize("kind", ["cpu", "cuda", "xpu", "mps", "meta"])
def test_every_device_has_a_clock_of_its_own(host: Any, kind: str) -> None:
    """Without the device none of the others can be made; none of them is taken for a reason to fail."""
    from pack.nodes.host.measure.clocks import EVENTS, HOST, SYNCHRONISED, clock_for

    expected = {"cpu": {HOST}, "meta": {SYNCHRONISED}}.get(kind, {EVENTS, SYNCHRONISED})
    assert clock_for(torch.device(kind)).name in expected
    assert clock_for(torch.device(kind), strict=True).name == (HOST if kind == "cpu" else SYNCHRONISED)


def test_two_recorders_on_one_model_both_record(host: Any, model: Any) -> None:
    once, first = host.attach(with_lora(model), "one")
    twice, second = host.attach(once, "two")
    sample(model, 1)
    sample(twice, 2)
    assert [len(recorder.runs) for recorder in (first, second)] == [1, 1]
    assert first.runs[0].lora.prepare_calls == second.runs[0].lora.prepare_calls == patched_layers()


@pytest.mark.timing
def test_the_recorder_costs_less_than_a_hundredth_of_a_short_step(host: Any, model: Any) -> None:
    """All that it does around an evaluation, without the evaluation: far below 1 % of a step of 50 ms."""
    run = host.MeasuredRun(model, host.RecorderOptions())
    run.open()
    try:
        run.prepare(lambda: None)
        durations = []
        for _ in range(200):
            begun = time.perf_counter_ns()
            run.evaluate(lambda: None)
            run.forward(1)
            durations.append(time.perf_counter_ns() - begun)
    finally:
        run.close()
    assert sorted(durations)[100] < 0.01 * 50e6
