"""What a cell of a block sweep costs at FLUX.2 Klein 4B's shapes: its steps, and how much more?

Run with ``python3 tests/gpu/sweep_cost.py``; about a minute and a half on one H200, most of it loading.

Random weights, 1024 x 1024, four steps, a LoRA on every linear of every block. One LoRA is sampled again and again
without a change: that is what the steps cost. Then a knock-out by block runs for ``--seconds``, merged and alongside
the weights (``bypass``), every cell with another block left out. Written to ``$OUT/sweep_cost_<mode>.json`` (or beside
the shell). ``--mode legacy`` loads without dynamic VRAM, ``--smoke`` does the same with a tiny model on the CPU.
"""

from __future__ import annotations

import argparse
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

sys.path.insert(0, str(Path(__file__).resolve().parent))
from comfy_boot import boot

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--smoke", action="store_true")
PARSER.add_argument("--mode", choices=("dynamic", "legacy"), default="dynamic")
PARSER.add_argument("--seconds", type=float, default=15.0, help="for each way of applying the LoRA")
PARSER.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
ARGS = PARSER.parse_args()
MODE = "cpu" if ARGS.smoke else ARGS.mode
boot(MODE)

import torch  # noqa: E402
from pack.nodes.host.apply.apply import apply_lora  # noqa: E402
from pack.nodes.host.apply.lora_cache import LORA_CACHE  # noqa: E402
from pack.nodes.host.sweep.cells import SweepInputs  # noqa: E402
from pack.nodes.host.sweep.sweep import run_sweep  # noqa: E402
from random_klein import RandomKlein  # noqa: E402

STEPS, REPEATS = 4, 5
ANSWER: dict[str, Any] = {"mode": MODE, "torch": torch.__version__, "errors": {}, "part_seconds": {}, "ways": {}}


def part(name: str, function: Callable[[], Any]) -> Any:
    """Run a part; a failure loses only itself. The answers so far are always on the disk."""
    begun, result = time.monotonic(), None
    try:
        with torch.inference_mode():
            result = function()
    except Exception as error:
        ANSWER["errors"][name] = f"{type(error).__name__}: {error}".splitlines()[0]
        traceback.print_exc()
    ANSWER["part_seconds"][name] = round(time.monotonic() - begun, 1)
    (ARGS.out / f"sweep_cost_{MODE}.json").write_text(json.dumps(ANSWER, indent=1) + "\n", encoding="utf-8")
    print(f"{MODE} {name} {ANSWER['part_seconds'][name]} s", flush=True)
    return result


def measure(klein: RandomKlein, path: Path, method: str) -> dict[str, Any]:
    """Seconds of a sampling without a change, and of the cells of a knock-out."""
    patched = apply_lora(str(path), "x", klein.base, None, 1.0, 0.0, "", method=method).model
    plain = []
    for _ in range(REPEATS):
        begun = klein.clock()
        klein.sample(patched, STEPS)
        plain.append((klein.clock() - begun) / 1e3)
    side = klein.size["side"]
    inputs = SweepInputs(
        model=klein.base, lora=LORA_CACHE.load(str(path), "x"), strength=1.0, positive=klein.conditioning,
        negative=klein.conditioning, latent={"samples": torch.zeros(1, 128, side, side)}, seed=7, seeds=1,
        steps=STEPS, cfg=1.0, sampler_name="euler", scheduler="simple", mode="knock-out", grouping="block",
        distance=0.1, budget_s=ARGS.seconds, method=method, resume=False, feature_shift=False,
    )  # fmt: skip
    result = run_sweep(inputs)
    steady = statistics.median(plain[1:])
    cells = list(result.cell_seconds)
    whole = result.table.costs.seconds / len(cells)
    return {
        "steps_s": round(steady, 4), "cells": len(cells), "cell_s": round(statistics.median(cells[3:] or cells), 4),
        "whole_s": round(whole, 4), "cell_over_steps": round(statistics.median(cells[3:] or cells) / steady, 4),
        "whole_over_steps": round(whole / steady, 4), "floor": result.table.floor, "finite": finite(result),
    }  # fmt: skip


def finite(result: Any) -> bool:
    """Whether the latents of random weights are numbers at all."""
    return all(bool(torch.isfinite(picture).all()) for picture in result.bench.pictures(frozenset()))


def main() -> int:
    """All parts; the exit status is 0 if none of them had an error."""
    ARGS.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        klein: RandomKlein | None = part("load", lambda: RandomKlein("tiny" if ARGS.smoke else "klein-4b"))
        if klein is None:
            return 1
        ANSWER["device"] = torch.cuda.get_device_name(0) if klein.device.type == "cuda" else "CPU"
        path = klein.lora_file(Path(name), 11)
        for method in ("merge", "bypass"):
            found = part(method, lambda method=method: measure(klein, path, method))
            if found is not None:
                ANSWER["ways"][method] = found
        part("done", lambda: None)
    print(json.dumps(ANSWER["ways"], indent=1))
    return 1 if ANSWER["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
