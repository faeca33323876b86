"""One case of ``lora_table.py`` in a process of its own: ``lora_child.py SHAPE MODE ANSWER.json SECONDS [PARTS]``."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEGUN = time.monotonic()
sys.path.insert(0, str(Path(__file__).resolve().parent))
from comfy_boot import boot  # noqa: E402

SHAPE, MODE, ANSWER, SECONDS = sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
PARTS = tuple(name for name in "".join(sys.argv[5:]).split(",") if name)
boot(MODE)

import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402
from pack.nodes.core.lora.bypass_factors import LowRank  # noqa: E402
from pack.nodes.host.apply.apply import apply_lora  # noqa: E402
from pack.nodes.host.bypass.calls import LinearCall  # noqa: E402
from pack.nodes.host.bypass.factors import FusedLowRank  # noqa: E402
from pack.nodes.host.bypass.terms import Beside  # noqa: E402
from pack.nodes.host.restage import restaging  # noqa: E402
from random_klein import RandomKlein  # noqa: E402

GPU = MODE != "cpu"
RUN_STEPS = 4
STEADY_STEPS = 7
ROUNDS = 4
NEW_FILES = 5
HALF = "single_blocks.3=0.5" if GPU else "single_blocks.1=0.5"

ANSWERS: dict[str, Any] = {"errors": {}}


def left() -> float:
    """Seconds that this process may still take."""
    return SECONDS - (time.monotonic() - BEGUN)


def part(name: str, needs: float = 0.0) -> Callable[[Callable[[], None]], None]:
    """Run a part now; a failure loses only itself. The answers so far are always on the disk."""

    def run(function: Callable[[], None]) -> None:
        if PARTS and name not in ("machine", *PARTS):
            return
        begun = time.monotonic()
        try:
            if left() < needs:
                raise TimeoutError(f"{left():.0f} s are left, {needs:.0f} s are needed")
            with torch.inference_mode():
                function()
        except Exception:
            ANSWERS["errors"][name] = traceback.format_exc()
        ANSWERS.setdefault("part_seconds", {})[name] = round(time.monotonic() - begun, 1)
        ANSWERS["seconds"] = round(time.monotonic() - BEGUN, 1)
        ANSWER.write_text(json.dumps(ANSWERS), encoding="utf-8")
        print(f"{SHAPE} {MODE} {name} {ANSWERS['part_seconds'][name]} s", flush=True)

    return run


def clock() -> float:
    """Milliseconds, with nothing left to do on the device."""
    return KLEIN.clock()


def sample(model: Any, steps: int = RUN_STEPS, callback: Any = None) -> torch.Tensor:
    return KLEIN.sample(model, steps, callback)


def run_ms(model: Any) -> float:
    """Wall time of a whole run."""
    begun = clock()
    sample(model)
    return clock() - begun


def step_ms(model: Any) -> list[float]:
    """Times of the steady steps of one run, the first left out."""
    times: list[float] = []
    sample(model, STEADY_STEPS, lambda *_: times.append(clock()))
    return [b - a for a, b in zip(times, times[1:], strict=False)]


def ours(path: Path, model: Any, method: str, strength: float = 1.0, blocks: str = "") -> Any:
    applied = apply_lora(
        str(path), path.name, model, None, strength, 0.0, blocks, method=method, sizes_later=True
    )  # fmt: skip  # as Apply LoRA does
    return applied.model


def stock(path: Path, model: Any, strength: float = 1.0) -> Any:
    return comfy.sd.load_lora_for_models(model, None, comfy.utils.load_torch_file(str(path)), strength, 0.0)[0]


def core_bypass(path: Path, model: Any, strength: float = 1.0) -> Any:
    return comfy.sd.load_bypass_lora_for_models(model, None, comfy.utils.load_torch_file(str(path)), strength, 0.0)[0]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).double().norm() / b.double().norm())


def reset_peak() -> None:
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peaks() -> dict[str, int]:
    """Bytes: torch's peak, and what the device says is in use (dynamic weights count only there)."""
    if not GPU:
        return {}
    free, total = torch.cuda.mem_get_info()
    return {"torch_peak": torch.cuda.max_memory_allocated(), "in_use": total - free}


KLEIN = RandomKlein(SHAPE)
BASE, SIZE, DEVICE, RANK = KLEIN.base, KLEIN.size, KLEIN.device, KLEIN.size["rank"]
FOLDER = tempfile.TemporaryDirectory()
FIRST, SECOND = (KLEIN.lora_file(Path(FOLDER.name), seed) for seed in (11, 12))
KEEP: dict[str, Any] = {}


@part("machine")
def _machine() -> None:
    from importlib.metadata import PackageNotFoundError, version

    from comfyui_version import __version__ as comfyui

    packages: dict[str, str] = {}
    for name in ("comfy-aimdo", "comfy-kitchen"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not there"
    ANSWERS["machine"] = {
        "device": torch.cuda.get_device_name(0) if GPU else "CPU",
        "torch": torch.__version__,
        "comfyui": comfyui,
        **packages,
        "model": type(BASE.model).__name__,
        "patcher": type(BASE).__name__,
        "dtype": str(BASE.model_dtype()),
        "rank": RANK,
    }


@part("unpatched")
def _unpatched() -> None:
    ANSWERS["first_load_ms"] = run_ms(BASE)
    run_ms(BASE)
    reset_peak()
    ANSWERS["warm_ms"] = statistics.median(run_ms(BASE) for _ in range(3))
    ANSWERS["memory_base"] = peaks()
    KEEP["picture"] = sample(BASE)


@part("applying")
def _applying() -> None:
    """The node's own time: nothing is loaded, no weight touched. The very first file has the model's names read too."""
    times: dict[str, list[float]] = {"stock": [], "merge": [], "bypass": [], "new": [], "stock_new": []}
    begun = clock()
    ours(FIRST, BASE, "merge")
    ANSWERS["apply_ours_very_first_ms"] = clock() - begun
    for turn in range(NEW_FILES):
        path = Path(shutil.copy(SECOND, SECOND.with_name(f"new{turn}.safetensors")))
        for name, function in (
            ("new", lambda new: ours(new, BASE, "merge")),
            ("stock_new", lambda new: stock(new, BASE)),
        ):
            begun = clock()
            function(path)
            times[name].append(clock() - begun)
        path.unlink()
    ANSWERS["apply_ours_first_ms"], ANSWERS["apply_ours_first_all_ms"] = statistics.median(times["new"]), times["new"]
    ANSWERS["apply_stock_first_ms"] = statistics.median(times["stock_new"])
    for turn in range(5):
        for name, function in (
            ("stock", lambda s: stock(FIRST, BASE, s)),
            ("merge", lambda s: ours(FIRST, BASE, "merge", s)),
            ("bypass", lambda s: ours(FIRST, BASE, "bypass", s)),
        ):
            begun = clock()
            function(1.0 + turn / 10)
            times[name].append(clock() - begun)
    ANSWERS["apply_stock_ms"] = statistics.median(times["stock"])
    ANSWERS["apply_ours_ms"] = statistics.median(times["merge"])
    ANSWERS["apply_bypass_ms"] = statistics.median(times["bypass"][1:])
    ANSWERS["apply_bypass_first_ms"] = times["bypass"][0]


@part("steady steps", 20)
def _steady() -> None:
    """Base, ours and core's bypass in turns; the ratios are of steps of the same round."""
    models = {
        "base": BASE,
        "ours": ours(FIRST, BASE, "bypass"),
        "ours_two": ours(SECOND, ours(FIRST, BASE, "bypass"), "bypass", 0.6),
        "core": core_bypass(FIRST, BASE),
    }
    medians: dict[str, list[float]] = {name: [] for name in models}
    for name, model in models.items():
        reset_peak()
        KEEP[name] = sample(model)
        ANSWERS[f"memory_{name}"] = peaks()
    for turn in range(ROUNDS):
        for name in list(models)[:: -1 if turn % 2 else 1]:
            medians[name].append(statistics.median(step_ms(models[name])))
    for name, values in medians.items():
        ANSWERS[f"step_{name}_ms"] = statistics.median(values)
        ANSWERS[f"step_{name}_all_ms"] = values
    ratios = {
        name: statistics.median(v / b for v, b in zip(medians[name], medians["base"], strict=True)) for name in medians
    }
    ANSWERS["bypass_ratio_ours"], ANSWERS["bypass_ratio_ours_two"] = ratios["ours"], ratios["ours_two"]
    ANSWERS["bypass_ratio_core"] = ratios["core"]
    ANSWERS["bypass_share_of_core"] = (ratios["ours"] - 1) / (ratios["core"] - 1) if ratios["core"] != 1 else None


@part("bypass changes", 10)
def _bypass_changes() -> None:
    models = {name: ours(FIRST, BASE, "bypass", *args) for name, args in (("change", (0.5,)), ("back", (1.0,)))}
    models["block"] = ours(FIRST, BASE, "bypass", 1.0, HALF)
    for name, model in models.items():
        ANSWERS[f"bypass_{name}_ms"] = run_ms(model)
    ANSWERS["bypass_warm_ms"] = statistics.median(run_ms(models["block"]) for _ in range(3))
    ANSWERS["base_again_equal"] = bool(torch.equal(sample(BASE), KEEP["picture"]))


def _merged(name: str, make: Callable[[float, str], Any]) -> None:
    run_ms(BASE)
    model = make(1.0, "")
    reset_peak()
    ANSWERS[f"merge_{name}_first_ms"] = run_ms(model)
    ANSWERS[f"memory_merge_{name}"] = peaks()
    ANSWERS[f"merge_{name}_warm_ms"] = min(run_ms(model) for _ in range(2))
    ANSWERS[f"merge_{name}_step_ms"] = statistics.median(step_ms(model))
    KEEP[f"merge_{name}"] = sample(model)
    ANSWERS[f"merge_{name}_change_ms"] = run_ms(make(0.5, ""))
    if name == "ours":
        run_ms(make(1.0, ""))
        ANSWERS[f"merge_{name}_block_ms"] = run_ms(make(1.0, HALF))


@part("merge stock", 20)
def _merge_stock() -> None:
    _merged("stock", lambda s, b: stock(FIRST, BASE, s))


@part("merge ours", 20)
def _merge_ours() -> None:
    _merged("ours", lambda s, b: ours(FIRST, BASE, "merge", s, b))


@part("differences")
def _differences() -> None:
    for name in ("ours", "core", "merge_ours"):
        ANSWERS[f"difference_{name}"] = relative(KEEP[name], KEEP["merge_stock"])
    ANSWERS["effect"] = relative(KEEP["merge_stock"], KEEP["picture"])
    ANSWERS["difference_ours_core"] = relative(KEEP["ours"], KEEP["core"])


def _runs(first: Any, changed: Any, how: str) -> tuple[float, torch.Tensor]:
    """Time of the run after the step from ``first`` to ``changed``, and its picture."""
    os.environ[restaging.SWITCH] = how
    sample(first)
    begun = clock()
    latent = sample(changed)
    return clock() - begun, latent


@part("re-staging", 30)
def _restaging() -> None:
    """One block changed, and all single blocks: ComfyUI's way of loading and ours in turns, same patches, same run."""
    full = ours(FIRST, BASE, "merge")
    sample(full)
    warm, equal, kept = [], [], []
    added: dict[str, list[float]] = {"core": [], "ours": []}
    blocks = [f"single_blocks.{n}=0.5" for n in (range(1, 6) if GPU else range(2))]
    for change in [*blocks[:3], "single_blocks=0.5", *blocks[3:]]:
        if len(warm) > 3 and left() < 45:
            break
        model = ours(FIRST, BASE, "merge", 1.0, change)
        core, picture = _runs(full, model, "off")
        mine, same = _runs(full, model, "on")
        seen = restaging.last_restaging(model)
        warm.append(min(run_ms(model) for _ in range(2)))
        kept.append(None if seen is None else [seen.changed, seen.kept])
        equal.append(bool(torch.equal(picture, same)))
        if change in blocks:
            added["core"].append(core - warm[-1])
            added["ours"].append(mine - warm[-1])
        else:
            ANSWERS["restage_single_core_ms"], ANSWERS["restage_single_ours_ms"] = core - warm[-1], mine - warm[-1]
    for name, values in added.items():
        ANSWERS[f"restage_block_{name}_ms"] = statistics.median(values)
        ANSWERS[f"restage_block_{name}_all_ms"] = values
    ANSWERS["restage_share"] = ANSWERS["restage_block_ours_ms"] / ANSWERS["restage_block_core_ms"]
    ANSWERS["restage_kept"], ANSWERS["restage_equal"] = kept, all(equal)
    os.environ[restaging.SWITCH] = "check"
    sample(full)
    sample(ours(FIRST, BASE, "merge", 1.0, "double_blocks.0=0.5"))
    ANSWERS["restage_check_passed"] = not restaging._failed
    os.environ[restaging.SWITCH] = "on"


@part("products")
def _products() -> None:
    """The widest layer alone in microseconds: without a LoRA, with ours inside and added afterwards, with core's."""
    rows, columns = KLEIN.shapes["single_blocks.0.linear1.weight"]
    tokens = SIZE["tokens"] + SIZE["side"] ** 2
    dtype = torch.bfloat16 if GPU else torch.float32
    weight, x = (torch.randn(n, columns, device=DEVICE, dtype=dtype) for n in (rows, tokens))
    down = torch.randn(RANK, columns, device=DEVICE, dtype=dtype)
    up = torch.randn(rows, RANK, device=DEVICE, dtype=dtype)
    linear = torch.nn.functional.linear
    term = LowRank(down, up, 1.0)
    fused = FusedLowRank([Beside("layer", False, None, term)], (rows, columns), dtype)
    call = LinearCall(fused, [0.7])

    def after() -> torch.Tensor:
        out = linear(x, weight)
        call(x, out)
        return out

    cases = {
        "layer": lambda: linear(x, weight),
        "inside": lambda: call.product(x, weight, None),
        "after": after,
        "with_core": lambda: linear(x, weight) + linear(linear(x, down), up) * 0.7,
    }
    for name, function in cases.items():
        for _ in range(3):
            function()
        times = []
        for _ in range(20):
            begun = clock()
            function()
            times.append((clock() - begun) * 1e3)
        ANSWERS[f"product_{name}_us"] = statistics.median(times)


FOLDER.cleanup()
