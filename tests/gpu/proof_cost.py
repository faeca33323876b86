"""What the proof that a patch ran costs, and that it costs nothing once proved: ``python3 tests/gpu/proof_cost.py``.

FLUX.2 Klein 4B's shapes with random weights, 1024 x 1024, a LoRA on every layer of every block, merged, patched when
used, and beside the weights. Two clocks, one outside and one inside our wrappers of the run and of the evaluation: what
lies between is our own code, before and after ComfyUI's. The stand-ins of weights that are patched when used run within
the evaluation; they are timed by themselves. Written to ``$OUT/proof_cost_<mode>.json`` (or beside the shell), with
shares of a steady step. ``--mode legacy`` loads without dynamic VRAM, ``--smoke`` rehearses with a tiny model.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from comfy_boot import boot

PARSER = argparse.ArgumentParser(description=__doc__)
PARSER.add_argument("--smoke", action="store_true")
PARSER.add_argument("--mode", choices=("dynamic", "legacy"), default="dynamic")
PARSER.add_argument("--runs", type=int, default=9)
PARSER.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
ARGS = PARSER.parse_args()
MODE = "cpu" if ARGS.smoke else ARGS.mode
boot(MODE)

import torch  # noqa: E402
from comfy.patcher_extension import WrappersMP  # noqa: E402
from pack.nodes.host.apply.apply import apply_lora  # noqa: E402
from pack.nodes.host.bypass import proof, weight_functions  # noqa: E402
from pack.nodes.host.bypass.hooks import bypass_stack  # noqa: E402
from pack.nodes.host.comfyui.private import patched_at_use, wrappers  # noqa: E402
from random_klein import RandomKlein  # noqa: E402

WAYS = ("merge", "bypass")
STEPS = 4
KINDS = (WrappersMP.OUTER_SAMPLE, WrappersMP.PREDICT_NOISE)


class Clocks:
    """Milliseconds that pass between two wrappers of each kind, one around ours and one inside."""

    def __init__(self, patcher: Any) -> None:
        self.spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self.inside: dict[str, float] = {}
        self.evaluations: list[float] = []
        for kind in KINDS:
            ours = wrappers(patcher, kind).pop(proof.KEY)
            patcher.add_wrapper_with_key(kind, "outside", self._outside(kind))
            for wrapper in ours:
                patcher.add_wrapper_with_key(kind, proof.KEY, wrapper)
            patcher.add_wrapper_with_key(kind, "inside", self._inside(kind))

    def _outside(self, kind: str) -> Any:
        def outside(executor: Any, *args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            result = executor(*args, **kwargs)
            whole = (time.perf_counter() - begun) * 1e3
            self.spent[kind].append(whole - self.inside[kind])
            return result

        return outside

    def _inside(self, kind: str) -> Any:
        def inside(executor: Any, *args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            result = executor(*args, **kwargs)
            if torch.cuda.is_available() and not ARGS.smoke:
                torch.cuda.synchronize()  # else what is still to do on the device could be counted as ours
            self.inside[kind] = (time.perf_counter() - begun) * 1e3
            if kind == WrappersMP.PREDICT_NOISE:
                self.evaluations.append(self.inside[kind])
            return result

        return inside


def measured(klein: RandomKlein, path: str, way: str) -> dict[str, Any]:
    """One way of applying: our own milliseconds in the first evaluation and in those once proved."""
    patched = apply_lora(path, "x", klein.base, None, 1.0, 0.0, "", method=way).model
    clocks = Clocks(patched)
    first: list[float] = []
    proved: list[float] = []
    for _ in range(ARGS.runs):
        _forget(patched)
        for spent in clocks.spent.values():
            spent.clear()
        klein.sample(patched, steps=STEPS)
        run, evaluations = clocks.spent[WrappersMP.OUTER_SAMPLE], clocks.spent[WrappersMP.PREDICT_NOISE]
        first.append(run[0] + evaluations[0])
        proved.extend(evaluations[1:])
    stack = bypass_stack(patched)
    watched = _watched(patched)
    step = statistics.median(clocks.evaluations[-STEPS + 1 :])
    noted = watched * _note_ms()
    return {
        "step_ms": step,
        "layers_beside": len(stack.hooks) if stack is not None else 0,
        "weights_at_use": watched,
        "first_ms": statistics.median(first[1:]),
        "stand_ins_ms": noted,
        "proved_ms": statistics.median(proved),
        "first_share_of_step": (statistics.median(first[1:]) + noted) / step,
        "first_share_of_run": (statistics.median(first[1:]) + noted) / (step * STEPS),
        "proved_share_of_step": statistics.median(proved) / step,
    }


def _forget(patcher: Any) -> None:
    """Nothing is proved of this model."""
    proof._PROVED.pop(patcher.model, None)  # pyright: ignore[reportPrivateUsage]
    stack = bypass_stack(patcher)
    if stack is not None:
        stack.proved = False


def _watched(patcher: Any) -> int:
    return len(patched_at_use(patcher.model)) if patcher.patches else 0


def _note_ms() -> float:
    """Milliseconds that a stand-in takes longer than its adapter."""
    from comfy.weight_adapter import WeightAdapterBase

    class Nothing(WeightAdapterBase):
        def __init__(self) -> None:
            self.loaded_keys, self.weights = set(), []

        def calculate_weight(self, *args: Any, **kwargs: Any) -> Any:
            return args[0]

    plain, number = Nothing(), -1
    weight_functions._RAN[number] = set()  # pyright: ignore[reportPrivateUsage]
    stand_in = weight_functions._stand_in(plain, "key", number)  # pyright: ignore[reportPrivateUsage]
    seconds = []
    for adapter in (plain, stand_in):
        begun = time.perf_counter()
        for _ in range(20_000):
            adapter.calculate_weight(None)
        seconds.append(time.perf_counter() - begun)
    del weight_functions._RAN[number]  # pyright: ignore[reportPrivateUsage]
    return (seconds[1] - seconds[0]) * 1e3 / 20_000


def main() -> int:
    """Both ways."""
    ARGS.out.mkdir(parents=True, exist_ok=True)
    answer: dict[str, Any] = {"mode": MODE, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as name:
        klein = RandomKlein("tiny" if ARGS.smoke else "klein-4b")
        answer["device"] = torch.cuda.get_device_name(0) if klein.device.type == "cuda" else "CPU"
        path = str(klein.lora_file(Path(name), 11))
        for way in WAYS:
            with torch.inference_mode():
                answer[way] = measured(klein, path, way)
    (ARGS.out / f"proof_cost_{MODE}.json").write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(answer, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
