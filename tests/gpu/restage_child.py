"""One shape of ``restage_bench.py`` in a process of its own: ``restage_child.py SHAPE MODE ANSWER.json SECONDS``."""

from __future__ import annotations

import json
import os
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
boot(MODE)

import comfy.model_management as mm  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402
from pack.nodes.host.apply.apply import apply_lora  # noqa: E402
from pack.nodes.host.restage import restaging  # noqa: E402
from pack.nodes.host.restage import self_check as restaging_check  # noqa: E402
from random_klein import RandomKlein  # noqa: E402

DYNAMIC = MODE == "dynamic"
ANSWERS: dict[str, Any] = {"errors": {}}
KEEP: dict[str, Any] = {}


def left() -> float:
    """Seconds that this process may still take."""
    return SECONDS - (time.monotonic() - BEGUN)


def part(name: str, needs: float = 0.0) -> Callable[[Callable[[], None]], None]:
    """Run a part now; a failure loses only itself. The answers so far are always on the disk."""

    def run(function: Callable[[], None]) -> None:
        begun = time.monotonic()
        try:
            if left() < needs:
                raise TimeoutError(f"{left():.0f} s are left, {needs:.0f} s are needed")
            os.environ[restaging.SWITCH] = "on"
            with torch.inference_mode():
                function()
        except Exception:
            ANSWERS["errors"][name] = traceback.format_exc()
            print(ANSWERS["errors"][name], flush=True)
        ANSWERS.setdefault("part_seconds", {})[name] = round(time.monotonic() - begun, 1)
        ANSWERS["seconds"] = round(time.monotonic() - BEGUN, 1)
        ANSWER.write_text(json.dumps(ANSWERS), encoding="utf-8")
        print(f"{SHAPE} {MODE} {name}: {ANSWERS['part_seconds'][name]} s", flush=True)

    return run


FOLDER = tempfile.TemporaryDirectory()
KLEIN = RandomKlein(SHAPE)
BASE = KLEIN.base
LORA = KLEIN.lora_file(Path(FOLDER.name), 11)
SINGLE = KLEIN.size["single"]


def ours(blocks: str = "", strength: float = 1.0) -> Any:
    return apply_lora(str(LORA), LORA.name, BASE, None, strength, 0.0, blocks, method="merge").model


def timed(model: Any, how: str = "on") -> tuple[float, torch.Tensor]:
    """Milliseconds of a whole run, and its latent."""
    os.environ[restaging.SWITCH] = how
    begun = KLEIN.clock()
    latent = KLEIN.sample(model)
    taken = KLEIN.clock() - begun
    os.environ[restaging.SWITCH] = "on"
    return taken, latent


def warm(model: Any) -> float:
    return min(timed(model)[0] for _ in range(2))


def kept(model: Any) -> dict[str, Any] | None:
    seen = restaging.last_restaging(model)
    return None if seen is None else {"changed": seen.changed, "kept": seen.kept, "own_ms": seen.milliseconds}


def median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def compare(name: str, start: Any, changes: list[Any], stop: float = 0.0) -> None:
    """From ``start`` to each of ``changes``: ComfyUI's way and ours in turns, what each adds to a warm run.

    The way back to ``start`` is counted as well: it is a change of the same size. ``stop``: seconds to leave over.
    """
    rows: dict[str, Any] = {
        "core": [],
        "ours": [],
        "back_core": [],
        "back_ours": [],
        "warm": [],
        "own": [],
        "equal": [],
    }
    timed(start)
    started = warm(start)
    at_start = KLEIN.sample(start)
    for model in changes:
        core, expected = timed(model, "off")
        back_core, first = timed(start, "off")
        mine, latent = timed(model)
        rows["own"].append(kept(model))
        now = warm(model)
        back, again = timed(start)
        rows["own"].append(kept(start))
        rows["warm"].append(now)
        rows["core"].append(core - now)
        rows["ours"].append(mine - now)
        rows["back_core"].append(back_core - started)
        rows["back_ours"].append(back - started)
        same = (torch.equal(latent, expected), torch.equal(first, at_start), torch.equal(again, at_start))
        rows["equal"].append(all(same))
        rows["differs"] = not torch.equal(latent, at_start)
        if left() < stop:
            break
    core, mine = median(rows["core"] + rows["back_core"]), median(rows["ours"] + rows["back_ours"])
    rows |= {
        "core_ms": core,
        "ours_ms": mine,
        "share": mine / core if core and mine is not None else None,
        "n": 2 * len(rows["core"]),
    }
    rows["all_equal"] = all(rows["equal"])
    ANSWERS[name] = rows


class _Timers:
    """Times of some of ComfyUI's functions in this process, synchronised; put back on leaving."""

    PLACES = (
        ("comfy.sampler_helpers", "_prepare_sampling"),
        ("comfy.model_management", "load_models_gpu"),
        ("comfy.ops", "cast_modules_with_vbar"),
        ("comfy.ops", "resolve_cast_module_with_vbar"),
        ("comfy.pinned_memory", "pin_memory"),
        ("comfy.lora", "calculate_weight"),
    )

    def __init__(self) -> None:
        self._rows: dict[str, list[float]] = {}
        self._saved: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> _Timers:
        for module_name, name in self.PLACES:
            module = sys.modules.get(module_name)
            function = getattr(module, name, None)
            if function is not None:
                self._saved.append((module, name, function))
                setattr(module, name, self._timed(name, function))
        return self

    def _timed(self, name: str, function: Any) -> Any:
        rows = self._rows.setdefault(name, [])

        def call(*args: Any, **kwargs: Any) -> Any:
            begun = KLEIN.clock()
            try:
                return function(*args, **kwargs)
            finally:
                rows.append(KLEIN.clock() - begun)

        return call

    def __exit__(self, *_: Any) -> None:
        for module, name, function in self._saved:
            setattr(module, name, function)

    def read(self) -> dict[str, Any]:
        """Calls, their sum, and the longest ones, in milliseconds."""
        return {name: self._row(rows) for name, rows in self._rows.items()}

    @staticmethod
    def _row(rows: list[float]) -> dict[str, Any]:
        longest = [round(value, 2) for value in sorted(rows)[-4:]]
        return {"calls": len(rows), "sum_ms": round(sum(rows), 2), "longest_ms": longest}


@part("machine")
def _machine() -> None:
    from comfyui_version import __version__ as comfyui

    try:
        from importlib.metadata import version

        aimdo = version("comfy-aimdo")
    except Exception:
        aimdo = "unknown"
    ANSWERS["machine"] = {
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU",
        "torch": torch.__version__, "comfyui": comfyui, "aimdo": aimdo,
        "patcher": type(BASE).__name__, "dtype": str(BASE.model_dtype()), "rank": KLEIN.size["rank"],
    }  # fmt: skip


@part("unpatched")
def _unpatched() -> None:
    ANSWERS["first_load_ms"] = timed(BASE)[0]
    ANSWERS["warm_ms"] = warm(BASE)
    KEEP["base"] = KLEIN.sample(BASE)


@part("LoRA applied and taken away", 10)
def _applied() -> None:
    full = ours()
    rows: dict[str, Any] = {name: [] for name in ("core", "ours", "back_core", "back_ours")}
    equal = []
    for _ in range(2):
        timed(BASE)
        core, expected = timed(full, "off")
        back_core, base = timed(BASE, "off")
        mine, latent = timed(full)
        rows["own"] = [kept(full)]
        now = warm(full)
        off = ours(strength=0.0)
        back, plain = timed(off)
        rows["own"].append(kept(off))
        rows["core"].append(core - now)
        rows["ours"].append(mine - now)
        rows["back_core"].append(back_core - ANSWERS["warm_ms"])
        rows["back_ours"].append(back - ANSWERS["warm_ms"])
        equal += [torch.equal(latent, expected), torch.equal(base, KEEP["base"]), torch.equal(plain, KEEP["base"])]
    KEEP["full"] = expected
    ANSWERS["applied"] = rows | {"equal": equal, "all_equal": all(equal)}
    for name in ("core", "ours", "back_core", "back_ours"):
        ANSWERS["applied"][f"{name}_ms"] = min(rows[name])


@part("one block", 10)
def _one_block() -> None:
    blocks = [f"single_blocks.{n}=0.5" for n in range(1, min(SINGLE, 5))]
    compare("one_block", ours(), [ours(change) for change in blocks], stop=30)


@part("a slider", 8)
def _slider() -> None:
    """The same block again and again, ours only: no run between the changes."""
    timed(ours())
    times = []
    for n in range(1, 7):
        model = ours(f"single_blocks.2={1 - n / 10}")
        times.append(timed(model)[0])
    now = warm(model)
    added = [value - now for value in times]
    latent = KLEIN.sample(model)
    mm.unload_all_models()
    equal = torch.equal(latent, timed(model, "off")[1])
    ANSWERS["slider"] = {"added_ms": added, "ours_ms": median(added), "equal_to_a_fresh_load": equal}


@part("one double block", 8)
def _double() -> None:
    compare("double_block", ours(), [ours("double_blocks.1=0.5")])


@part("all single blocks", 8)
def _all_single() -> None:
    compare("all_single", ours(), [ours("single_blocks=0.5")])


@part("where the time goes", 6)
def _breakdown() -> None:
    """A changed and a warm run again, with ComfyUI's staging timed part by part (this slows the runs themselves)."""
    full, changed = ours(), ours("single_blocks.3=0.5" if SINGLE > 3 else "single_blocks.1=0.5")
    found: dict[str, Any] = {}
    steps: dict[str, list[float]] = {}
    for name, model in (("full", full), ("changed", changed), ("warm", changed)):
        marks = [KLEIN.clock()]
        KLEIN.sample(model, 4, lambda *_, marks=marks: marks.append(KLEIN.clock()))
        steps[name] = [round(b - a, 2) for a, b in zip(marks, marks[1:], strict=False)]
    found["steps_ms"] = steps
    try:
        found["pinned_bytes"], found["weights"] = changed.pinned_memory_size(), changed.model_size()
    except Exception as error:
        found["pinned_bytes"] = str(error)
    KLEIN.sample(full)
    with _Timers() as timers:
        KLEIN.sample(changed)
    found["changed"] = timers.read()
    found["own"] = kept(changed)
    with _Timers() as timers:
        KLEIN.sample(changed)
    found["warm"] = timers.read()
    ANSWERS["breakdown"] = found


@part("pages given up in between", 6)
def _evicted() -> None:
    full, changed = ours(), ours("single_blocks.1=0.25")
    mm.unload_all_models()
    expected = timed(changed, "off")[1]
    timed(full)
    freed = mm.current_loaded_models[0].model.partially_unload(None, BASE.model_size() // 3) if DYNAMIC else 0
    latent = timed(changed)[1]
    ANSWERS["evicted"] = {"freed": freed, "own": kept(changed), "equal": torch.equal(latent, expected)}


@part("a stranger in between", 6)
def _stranger() -> None:
    full, changed = ours(), ours("single_blocks.1=0.25")
    expected = timed(changed, "off")[1]
    timed(full)
    timed(comfy.sd.load_lora_for_models(BASE, None, comfy.utils.load_torch_file(str(LORA)), 0.3, 0.0)[0])
    latent = timed(changed)[1]
    ANSWERS["stranger"] = {"own": kept(changed), "equal": torch.equal(latent, expected)}
    ANSWERS["base_again_equal"] = torch.equal(timed(BASE)[1], KEEP["base"])


@part("self-check", 6)
def _check() -> None:
    """It passes; and with one resident weight falsified, it finds that and switches re-staging off."""
    if not DYNAMIC:
        return
    os.environ[restaging.SWITCH] = "check"
    full, changed = ours(), ours("single_blocks.1=0.25")
    timed(full, "check")
    timed(changed, "check")
    ANSWERS["check_passed"] = not restaging._failed
    restaging_check.MODULES = 10**6
    timed(full, "check")
    ANSWERS["check_of_all_passed"] = not restaging._failed
    module = comfy.utils.get_attr(BASE.model, "diffusion_model.single_blocks.2.linear2")
    module._v_weight.add_(1)
    timed(changed, "check")
    ANSWERS["check_finds_a_wrong_weight"] = bool(restaging._failed)
    expected = timed(full, "off")[1]
    ANSWERS["off_after_the_error"] = torch.equal(timed(full, "check")[1], expected)
    restaging._failed.clear()
    timed(BASE, "off")


ANSWER.write_text(json.dumps(ANSWERS), encoding="utf-8")
FOLDER.cleanup()
