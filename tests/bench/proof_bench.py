"""What the proof that a patch ran costs: ``python tests/bench/proof_bench.py``.

A model with as many blocks as FLUX.2 Klein 4B, but narrow, on the CPU, with a LoRA on all of its 80 matrices: merged,
merged but patched whenever a weight is used, and beside the weights. Two clocks, one outside and one inside our
wrappers of the run, its steps and the evaluation; what lies between is our own work in Python, which does not depend on
the width. A run that is proved already gives what clocks and wrappers take by themselves. The stand-ins of weights that
are patched when used work inside the evaluation, so they are timed by themselves.

``--out FILE`` writes the milliseconds, and their shares of the step on one H200 in which they fall: a steady one of
``tests/gpu/results/lora_table.json``; where weights are patched when used, the first one after a change.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "gpu"))
from comfy_boot import boot  # noqa: E402

boot("cpu")

import comfy.model_management as mm  # noqa: E402
import random_klein  # noqa: E402
import torch  # noqa: E402
from comfy.patcher_extension import WrappersMP  # noqa: E402
from pack.nodes.host.apply.apply import apply_lora  # noqa: E402
from pack.nodes.host.bypass import proof, weight_functions  # noqa: E402
from pack.nodes.host.bypass.hooks import bypass_stack  # noqa: E402
from pack.nodes.host.comfyui.private import wrappers  # noqa: E402

TABLE = ROOT / "tests" / "gpu" / "results" / "lora_table.json"
NARROW = {"hidden": 128, "double": 5, "single": 20, "context": 64, "side": 4, "tokens": 8, "rank": 8}
STEP = WrappersMP.PREDICT_NOISE
AROUND = (WrappersMP.OUTER_SAMPLE, WrappersMP.SAMPLER_SAMPLE)
KINDS = (*AROUND, STEP)
STEPS = 2
CALLS = 20_000


class Clocks:
    """Milliseconds between two wrappers of each kind, one around ours and one inside."""

    def __init__(self, patcher: Any) -> None:
        self.spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self._inside: dict[str, float] = {}
        for kind in KINDS:
            ours = wrappers(patcher, kind)[proof.KEY]
            patcher.remove_wrappers_with_key(kind, proof.KEY)
            patcher.add_wrapper_with_key(kind, "outside", self._clock(kind, self._note_outside))
            for wrapper in ours:
                patcher.add_wrapper_with_key(kind, proof.KEY, wrapper)
            patcher.add_wrapper_with_key(kind, "inside", self._clock(kind, self._inside.__setitem__))

    def _note_outside(self, kind: str, whole: float) -> None:
        self.spent[kind].append(whole - self._inside[kind])

    def _clock(self, kind: str, note: Callable[[str, float], None]) -> Any:
        def clock(executor: Any, *args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            result = executor(*args, **kwargs)
            note(kind, (time.perf_counter() - begun) * 1e3)
            return result

        return clock

    def first(self) -> tuple[float, float]:
        """In the first evaluation, and in the run around its steps; forgotten afterwards."""
        found = self.spent[STEP][0], sum(self.spent[kind][0] for kind in AROUND)
        for spent in self.spent.values():
            spent.clear()
        return found


def measured(klein: random_klein.RandomKlein, path: str, method: str, runs: int) -> dict[str, float]:
    """Our milliseconds in the first evaluation of a run and around its steps, not yet proved less proved."""
    patched = apply_lora(path, "x", klein.base, None, 1.0, 0.0, "", method=method).model
    clocks = Clocks(patched)
    looked: list[tuple[float, float]] = []
    proved: list[tuple[float, float]] = []
    for _ in range(runs + 1):
        for found in (looked, proved):
            if found is looked:
                _forget(patched)
            klein.sample(patched, steps=STEPS)
            found.append(clocks.first())
    with weight_functions.watched_functions(patched) as watched:
        at_use = len(watched.expected)
    stack = bypass_stack(patched)
    step, around = (
        [statistics.median(one[part] for one in found[1:]) for found in (looked, proved)] for part in (0, 1)
    )
    return {
        "beside": len(stack.hooks) if stack is not None else 0,
        "at_use": at_use,
        "proof_ms": step[0] - step[1] + at_use * _stand_in_ms(),
        "before_ms": around[0] - around[1],
        "proved_ms": step[1],
    }


def _forget(patcher: Any) -> None:
    proof._PROVED.pop(patcher.model, None)  # pyright: ignore[reportPrivateUsage]
    stack = bypass_stack(patcher)
    if stack is not None:
        stack.proved = False


def _stand_in_ms() -> float:
    """How much longer a stand-in takes than its adapter."""
    from comfy.weight_adapter import WeightAdapterBase

    class Nothing(WeightAdapterBase):
        def __init__(self) -> None:
            self.loaded_keys, self.weights = set(), []

        def calculate_weight(self, *args: Any, **kwargs: Any) -> Any:
            return args[0]

    plain, number = Nothing(), -1
    weight_functions._RAN[number] = set()  # pyright: ignore[reportPrivateUsage]
    stand_in = weight_functions._stand_in(plain, "key", number)  # pyright: ignore[reportPrivateUsage]
    seconds: list[float] = []
    for adapter in (plain, stand_in):
        begun = time.perf_counter()
        for _ in range(CALLS):
            adapter.calculate_weight(None)
        seconds.append(time.perf_counter() - begun)
    del weight_functions._RAN[number]  # pyright: ignore[reportPrivateUsage]
    return (seconds[1] - seconds[0]) * 1e3 / CALLS


@contextlib.contextmanager
def patched_when_used(model: Any) -> Iterator[None]:
    """Models are loaded as where they do not fit on the device."""
    kind, load = type(model), type(model).load

    def partly(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs |= {"lowvram_model_memory": 1, "full_load": False}
        return load(self, args[0] if args else kwargs.pop("device_to"), **kwargs)

    mm.unload_all_models()
    kind.load = partly
    try:
        yield
    finally:
        kind.load = load
        mm.unload_all_models()


def steps_on_gpu() -> dict[str, float]:
    """Milliseconds of the step in which each falls, with FLUX.2 Klein 4B on an H200."""
    results = json.loads(TABLE.read_text(encoding="utf-8"))["results"]
    found = next(one for one in results if (one["shape"], one["mode"]) == ("klein-4b", "dynamic"))
    first = found["merge_ours_first_ms"] - found["merge_ours_warm_ms"] + found["merge_ours_step_ms"]
    return {"merged": found["step_base_ms"], "patched when used": first, "beside": found["step_ours_ms"]}


def main() -> None:
    """Print, and write where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    random_klein.SIZES["narrow"] = NARROW
    ways: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        klein = random_klein.RandomKlein("narrow")
        path = str(klein.lora_file(Path(name), 11))
        ways["merged"] = measured(klein, path, "merge", options.runs)
        with patched_when_used(klein.base):
            ways["patched when used"] = measured(klein, path, "merge", options.runs)
        ways["beside"] = measured(klein, path, "bypass", options.runs)
    for way, step in steps_on_gpu().items():
        ways[way] |= {"step_ms": step, "share": ways[way]["proof_ms"] / step}
    rounded = {way: {key: round(value, 6) for key, value in found.items()} for way, found in ways.items()}
    text = json.dumps(rounded, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
