"""One case of ``measure_table.py`` in a process of its own: ``measure_child.py SHAPE MODE ANSWER.json``."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from comfy_boot import boot

SHAPE, MODE, ANSWER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
boot(MODE)

import comfy.model_management as mm  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.sd  # noqa: E402
import torch  # noqa: E402
from comfy.patcher_extension import WrappersMP  # noqa: E402
from pack.nodes.host.measure import recorder as ours  # noqa: E402
from pack.nodes.host.measure.clocks import clock_for  # noqa: E402
from pack.nodes.host.measure.context import machine_context  # noqa: E402
from pack.nodes.host.measure.memory_nvml import Nvml  # noqa: E402
from pack.nodes.host.measure.run import MeasuredRun, RecorderOptions  # noqa: E402

SIZES = {
    "klein-4b": {"hidden": 3072, "double": 5, "single": 20, "context": 7680, "side": 64, "tokens": 512},
    "klein-9b": {"hidden": 4096, "double": 8, "single": 24, "context": 12288, "side": 64, "tokens": 512},
    "tiny": {"hidden": 128, "double": 1, "single": 2, "context": 64, "side": 4, "tokens": 8},
}
SIZE = SIZES[SHAPE]
GPU = MODE != "cpu"
DEVICE = mm.get_torch_device()
STEPS = 8 if GPU else 6
PAIRS = 4
OVERHEAD_PAIRS = {"klein-4b": 36, "klein-9b": 18}.get(SHAPE, 6)
"""The shorter a step, the more of them tell half a per cent."""
RANK = 32 if GPU else 4

ANSWERS: dict[str, Any] = {"errors": {}}


def part(name: str) -> Callable[[Callable[[], None]], None]:
    """Run a part now; a failure loses only itself. The answers so far are always on the disk."""

    def run(function: Callable[[], None]) -> None:
        begun = time.monotonic()
        try:
            function()
        except Exception:
            ANSWERS["errors"][name] = traceback.format_exc()
        ANSWERS.setdefault("part_seconds", {})[name] = round(time.monotonic() - begun, 1)
        ANSWER.write_text(json.dumps(ANSWERS), encoding="utf-8")

    return run


def synchronise() -> None:
    if GPU:
        torch.cuda.synchronize()


def random_weight(shape: tuple[int, ...]) -> torch.Tensor:
    """bf16 in main memory; drawn on the device, which is much quicker."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    scale = shape[-1] ** -0.5
    return (torch.randn(shape, device=DEVICE, dtype=torch.bfloat16) * scale).to("cpu")


def make_shapes() -> dict[str, tuple[int, ...]]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))
    from nano_models import flux2_shapes

    return flux2_shapes(SIZE["hidden"], SIZE["double"], SIZE["single"], SIZE["context"])


def make_lora(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        if len(shape) == 2 and "blocks." in key:
            prefix = f"diffusion_model.{key.removesuffix('.weight')}"
            state[f"{prefix}.lora_A.weight"] = random_weight((RANK, shape[1]))
            state[f"{prefix}.lora_B.weight"] = random_weight((shape[0], RANK)) * 0.1
    return state


def sample(model: Any, steps: int = STEPS, callback: Any = None) -> torch.Tensor:
    latent = torch.zeros(1, 128, SIZE["side"], SIZE["side"])
    noise = comfy.sample.prepare_noise(latent, 7)
    return comfy.sample.sample(
        model, noise, steps, 1.0, "euler", "simple", CONDITIONING, CONDITIONING, latent,
        callback=callback, disable_pbar=True, seed=7,
    )  # fmt: skip


class DriverWatch:
    """Polls the driver from a process of its own, as an outside observer would."""

    CODE = (
        "import sys, time, ctypes\n"
        "from pathlib import Path\n"
        "stop, out, pid = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])\n"
        "import pynvml\n"
        "pynvml.nvmlInit()\n"
        "h = pynvml.nvmlDeviceGetHandleByUUID(sys.argv[4])\n"
        "own = used = 0\n"
        "while not stop.exists():\n"
        "    used = max(used, pynvml.nvmlDeviceGetMemoryInfo(h).used)\n"
        "    ps = pynvml.nvmlDeviceGetComputeRunningProcesses(h)\n"
        "    mine = [p.usedGpuMemory for p in ps if p.pid == pid and p.usedGpuMemory]\n"
        "    mine = mine or ([ps[0].usedGpuMemory] if len(ps) == 1 and ps[0].usedGpuMemory else [])\n"
        "    own = max([own, *mine])\n"
        "    time.sleep(0.005)\n"
        "out.write_text(f'{own} {used}')\n"
    )

    def __init__(self) -> None:
        self.stop_file = ANSWER.with_suffix(".stop")
        self.out_file = ANSWER.with_suffix(".driver")
        self.smi: list[int] = []
        self.stop_file.unlink(missing_ok=True)
        device = f"GPU-{torch.cuda.get_device_properties(DEVICE).uuid}"
        command = [sys.executable, "-c", self.CODE, str(self.stop_file), str(self.out_file), str(os.getpid()), device]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", device, "-lms", "250"]
        self.smi_process = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def finish(self) -> tuple[int, int, int]:
        """Bytes of this process, of the device, and of the device as nvidia-smi polled it every 250 ms."""
        self.stop_file.touch()
        _, errors = self.process.communicate(timeout=20)
        self.smi_process.terminate()
        seen = (self.smi_process.communicate(timeout=20)[0] or "").split()
        self.stop_file.unlink(missing_ok=True)
        if self.process.returncode:
            raise RuntimeError(errors[-500:])
        own, used = map(int, self.out_file.read_text().split())
        self.out_file.unlink()
        return own, used, max((int(value) for value in seen if value.isdigit()), default=0) * 2**20


def driver_now() -> int:
    """Device memory of this process as the driver tells it, else what is in use on the device."""
    synchronise()
    own = Nvml(DEVICE).process_bytes()
    free, total = torch.cuda.mem_get_info()
    return own if own is not None else total - free


BEGUN = time.monotonic()
SHAPES = make_shapes()
CONDITIONING = [[torch.randn(1, SIZE["tokens"], SIZE["context"]), {}]]
MODEL: Any = None


@part("context")
def _context() -> None:
    ANSWERS["machine"] = machine_context(DEVICE)


@part("load")
def _load() -> None:
    global MODEL
    torch.manual_seed(0)
    MODEL = comfy.sd.load_diffusion_model_state_dict({key: random_weight(shape) for key, shape in SHAPES.items()})
    if GPU:
        torch.cuda.empty_cache()
    sample(MODEL, 2)
    ANSWERS["weights_all"] = MODEL.model_size()


@part("memory and first run with a LoRA")
def _memory() -> None:
    lora = make_lora(SHAPES, 1)
    patched = comfy.sd.load_lora_for_models(MODEL, None, lora, 1.0, 0.0)[0]
    if GPU:
        torch.cuda.empty_cache()
    measured, recorder = ours.attach(patched, "lora")
    watch = DriverWatch() if GPU else None
    if watch is not None:
        time.sleep(1.5)  # until both watchers look
    walls = []
    for _ in range(2):
        synchronise()
        begun = time.perf_counter()
        sample(measured, 4)
        synchronise()
        walls.append(time.perf_counter() - begun)
    cold, warm = recorder.runs
    ANSWERS.update(
        wall_first_s=walls[0],
        wall_warm_s=walls[1],
        first_ms=cold.evaluations_ms[0],
        first_lora_ms=cold.lora.first_ms,
        first_lora_calls=cold.lora.first_calls,
        prepare_s=cold.prepare_s,
        prepare_lora_ms=cold.lora.prepare_ms,
        prepare_lora_calls=cold.lora.prepare_calls,
        later_lora_calls=cold.lora.later_calls,
        after_switch=[run.after_switch for run in recorder.runs],
        streamed=list(cold.streamed_bytes),
        facts=vars(cold.facts) | {"shape": list(cold.facts.shape)},
    )
    figures = {name: figure.value for name, figure in vars(warm.memory).items()}
    ANSWERS["memory"] = {name: [figure.value, figure.reason] for name, figure in vars(warm.memory).items()}
    ANSWERS["memory_first"] = {name: [figure.value, figure.reason] for name, figure in vars(cold.memory).items()}
    peaks = {name: getattr(cold.memory, name).value for name in ("process_low", "process_high")}
    peaks = {name: max(value or 0, figures[name] or 0) for name, value in peaks.items()}
    ANSWERS.update(
        weights_ours=figures["weights_resident"],
        torch_allocated=max(figures["torch_allocated_peak"] or 0, cold.memory.torch_allocated_peak.value or 0) or None,
        torch_reserved=max(figures["torch_reserved_peak"] or 0, cold.memory.torch_reserved_peak.value or 0) or None,
        peak_low=peaks["process_low"],
        peak_high=peaks["process_high"],
    )
    if watch is not None:
        own, used, smi = watch.finish()
        driver = own or used
        ANSWERS.update(
            peak_driver=driver,
            peak_device=used,
            smi_peak=smi or None,
            driver_source="NVML, this process" if own else "NVML, device in use",
            peak_low_difference=peaks["process_low"] / driver - 1,
            peak_high_difference=peaks["process_high"] / driver - 1,
        )


def synchronised_clone(times: list[float]) -> Any:
    """A clone that waits for the device before and after every evaluation; times in ms."""
    clone = MODEL.clone()

    def predict(executor: Any, *args: Any, **kwargs: Any) -> Any:
        synchronise()
        begun = time.perf_counter()
        result = executor(*args, **kwargs)
        synchronise()
        times.append((time.perf_counter() - begun) * 1000)
        return result

    clone.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "reference", predict)
    return clone


def timed_sampling(model: Any) -> tuple[float, float]:
    """Seconds of a whole run, and of one steady step: between the ends of the first and the last step, by the number
    of steps between. The device is waited for at these two ends only, with and without the recorder."""
    marks: list[float] = []

    def on_step(step: int, *_: Any) -> None:
        if step in (0, STEPS - 1):
            synchronise()
            marks.append(time.perf_counter())

    synchronise()
    begun = time.perf_counter()
    sample(model, callback=on_step)
    synchronise()
    return time.perf_counter() - begun, (marks[1] - marks[0]) / (STEPS - 1)


def marked_sampling(model: Any) -> tuple[float, float]:
    """Seconds of a whole run, and ms of its median steady step by marks of our own; nothing waits inside."""
    clock, marks = clock_for(DEVICE), []
    synchronise()
    begun = time.perf_counter()
    sample(model, callback=lambda *_: marks.append(clock.mark()))
    synchronise()
    whole = time.perf_counter() - begun
    return whole, statistics.median(clock.between(a, b) for a, b in zip(marks, marks[1:], strict=False))


def bootstrap(values: list[float], draws: int = 4000) -> tuple[float, float]:
    """The 95 % interval of the median of ``values``."""
    random = Random(1)
    medians = sorted(statistics.median(random.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def interval_text(values: list[float]) -> str:
    low, high = bootstrap(values)
    return f"{low:+.2%} to {high:+.2%}, n = {len(values)}"


@part("steady step")
def _step() -> None:
    """Two references, each in the very run that is measured, so that no other run's noise is between them.

    *Every evaluation*: the device is waited for before and after each. *Ends*: it is waited for after the first and the
    last step only, as an ordinary run goes; ours is then the evaluations and the gaps between these two moments.
    """
    times: list[float] = []
    inside, inside_recorder = ours.attach(synchronised_clone(times), "synchronised")  # ours within the reference
    plain, recorder = ours.attach(MODEL, "plain")
    sample(MODEL, 2)
    rows: dict[str, list[float]] = {name: [] for name in ("every", "ends", "alone", "reference", "cost")}
    for _ in range(PAIRS):
        times.clear()
        sample(inside)
        mine, reference = inside_recorder.runs[-1].steady_ms, times[1:]
        rows["every"] += [a / b - 1 for a, b in zip(mine, reference, strict=True)]
        rows["reference"] += reference
        wall = timed_sampling(plain)[1] * 1000
        run = recorder.runs[-1]
        rows["ends"].append((sum(run.steady_ms) + sum(run.gaps_ms)) / (STEPS - 1) / wall - 1)
        rows["alone"] += run.steady_ms
        rows["cost"].append(statistics.median(reference) / statistics.median(run.steady_ms) - 1)
    ANSWERS.update(
        step_ours=statistics.median(rows["alone"]),
        step_synchronised=statistics.median(rows["reference"]),
        step_difference=statistics.median(rows["every"]),
        step_difference_interval=interval_text(rows["every"]),
        step_difference_ends=statistics.median(rows["ends"]),
        step_difference_ends_interval=interval_text(rows["ends"]),
        step_cost_of_synchronising=statistics.median(rows["cost"]),
        step_n=len(rows["every"]),
        step_raw=rows,
    )


@part("overhead")
def _overhead() -> None:
    """The same model with the recorder, without, and with one that does not poll memory, in turns of changing order."""
    conditions = {
        "without": MODEL,
        "with": ours.attach(MODEL, "plain")[0],
        "no polling": ours.attach(MODEL, "no polling", RecorderOptions(poll=False))[0],
    }
    steps: dict[str, list[float]] = {name: [] for name in conditions}
    wholes: dict[str, list[float]] = {name: [] for name in conditions}
    for model in conditions.values():
        sample(model, 2)
    orders = list(itertools.permutations(conditions))
    for turn in range(OVERHEAD_PAIRS):
        for name in orders[turn % len(orders)]:
            whole, step = marked_sampling(conditions[name])
            wholes[name].append(whole)
            steps[name].append(step)

    def shares(times: dict[str, list[float]], name: str) -> list[float]:
        return [b / a - 1 for a, b in zip(times["without"], times[name], strict=True)]

    ANSWERS["overhead"] = statistics.median(shares(steps, "with"))
    ANSWERS["overhead_interval"] = interval_text(shares(steps, "with"))
    ANSWERS["overhead_no_polling"] = statistics.median(shares(steps, "no polling"))
    ANSWERS["overhead_no_polling_interval"] = interval_text(shares(steps, "no polling"))
    ANSWERS["overhead_whole"] = statistics.median(shares(wholes, "with"))
    ANSWERS["overhead_raw"] = {"steps": steps, "wholes": wholes}


@part("host time")
def _host_time() -> None:
    run = MeasuredRun(MODEL, RecorderOptions())
    run.open()
    try:
        durations = []
        for _ in range(100):
            begun = time.perf_counter_ns()
            run.evaluate(lambda: None)
            durations.append((time.perf_counter_ns() - begun) / 1000)
    finally:
        run.close()
    ANSWERS["host_us"] = statistics.median(durations)


@part("weights against the driver")
def _weights() -> None:
    """What the driver gives back when the model goes is what its weights held."""
    if not GPU:
        return
    sample(MODEL, 2)
    mm.reset_cast_buffers()
    torch.cuda.empty_cache()
    ANSWERS["weights_ours"] = MODEL.loaded_size()
    loaded = driver_now()
    mm.unload_all_models()
    if MODE == "dynamic":
        MODEL.partially_unload(None, 1e32)
    mm.soft_empty_cache()
    torch.cuda.empty_cache()
    released = loaded - driver_now()
    ANSWERS.update(weights_driver=released, weights_difference=ANSWERS["weights_ours"] / released - 1)


ANSWERS["seconds"] = round(time.monotonic() - BEGUN, 1)
if not ANSWERS["errors"]:
    del ANSWERS["errors"]
ANSWER.write_text(json.dumps(ANSWERS), encoding="utf-8")
