"""What a low-rank term beside a layer costs, alone and in whole models: ``python3 tests/gpu/bypass_micro.py``.

First the layers of FLUX.2 Klein alone, in several ways of computing the same sum; then steps of whole models (random
weights, dynamic VRAM): unpatched, our bypass inside the layer's product, our bypass added afterwards, and ComfyUI's,
in turns. Writes ``bypass_micro.json`` into ``$OUT`` (or the folder one is in). ComfyUI comes from
``$PATCHBAY_TEST_COMFYUI`` or ``.runtime``. ``--smoke`` rehearses on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LAYERS = [  # name, inputs, outputs, tokens, how often in a step
    ("4b linear1", 3072, 27648, 4608, 20),
    ("4b linear2", 12288, 3072, 4608, 20),
    ("9b linear1", 4096, 36864, 4608, 24),
    ("9b linear2", 16384, 4096, 4608, 24),
    ("9b img mlp in", 4096, 24576, 4096, 8),
    ("9b img mlp out", 12288, 4096, 4096, 8),
    ("9b img qkv", 4096, 12288, 4096, 8),
]
RANK, ROUNDS, STEPS = 32, 5, 7


def layer_ways(x: Any, weight: Any, down: Any, up: Any) -> dict[str, Callable[[], Any]]:
    """The layer, and ways of adding the term to it. All of them give the same sum."""
    from torch.nn.functional import linear

    columns = x.shape[1]

    def split(parts: int) -> Any:
        a = x.view(x.shape[0], parts, columns // parts).transpose(0, 1)
        b = down.view(RANK, parts, columns // parts).permute(1, 2, 0)
        return (a @ b).sum(0)

    def inside(inner: Any) -> Any:
        return x.new_empty(x.shape[0], weight.shape[0]).addmm_(inner, up.t(), beta=0, alpha=0.7).addmm_(x, weight.t())

    return {
        "layer": lambda: linear(x, weight),
        "down": lambda: linear(x, down),
        "down split 4": lambda: split(4),
        "down split 8": lambda: split(8),
        "after": lambda: linear(x, weight).addmm_(linear(x, down), up.t(), alpha=0.7),
        "inside": lambda: inside(linear(x, down)),
        "inside split 4": lambda: inside(split(4)),
        "core": lambda: linear(x, weight) + linear(linear(x, down), up) * 0.7,
    }


def time_layers(gpu: bool) -> dict[str, Any]:
    """Microseconds of each way of each layer: the median of rounds in which every way had its turn."""
    import torch

    results: dict[str, Any] = {}
    device, dtype = ("cuda", torch.bfloat16) if gpu else ("cpu", torch.float32)
    for name, columns, rows, tokens, count in LAYERS if gpu else [("tiny", 128, 256, 64, 1)]:
        weight, x = (torch.randn(n, columns, device=device, dtype=dtype) * 0.02 for n in (rows, tokens))
        down, up = (
            torch.randn(RANK, columns, device=device, dtype=dtype),
            torch.randn(rows, RANK, device=device, dtype=dtype),
        )
        ways = layer_ways(x, weight, down, up)
        times: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(12):
            for way, function in ways.items():
                begun = _mark(gpu)
                for _ in range(5):
                    function()
                if turn > 1:
                    times[way].append(_between(begun, _mark(gpu)) * 200)
        row: dict[str, float] = {way: round(statistics.median(values), 1) for way, values in times.items()}
        for way in ("after", "inside", "inside split 4", "core"):
            row[f"{way}: added"] = round(row[way] - row["layer"], 1)
        exact = ways["core"]().float()
        row["difference"] = float((ways["inside"]().float() - exact).norm() / exact.norm())
        row["count"] = count
        results[name] = row
        print(name, row, flush=True)
    return results


def _mark(gpu: bool) -> Any:
    if not gpu:
        return time.perf_counter()
    import torch

    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(first: Any, second: Any) -> float:
    """Milliseconds."""
    if isinstance(first, float):
        return (second - first) * 1e3
    second.synchronize()
    return first.elapsed_time(second)


def time_model(shape: str, gpu: bool) -> dict[str, Any]:
    """Steady steps of a whole model in the four ways, with paired ratios of the rounds."""
    sys.path.insert(0, str(HERE))
    from comfy_boot import boot

    boot("dynamic" if gpu else "cpu")
    import comfy.sd
    import comfy.utils
    import torch
    from pack.nodes.core.measure.stats import paired_ratio
    from pack.nodes.host.apply.apply import apply_lora
    from pack.nodes.host.bypass import layer_hooks as bypass_ops
    from random_klein import RandomKlein

    klein = RandomKlein(shape)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = klein.lora_file(Path(folder), 11)
        ours = apply_lora(str(path), path.name, klein.base, None, 1.0, 0.0, "", method="bypass").model
        core = comfy.sd.load_bypass_lora_for_models(klein.base, None, comfy.utils.load_torch_file(str(path)), 1.0, 0.0)
        ways = {"base": klein.base, "inside": ours, "after": ours, "core": core[0]}
        steps: dict[str, list[float]] = {way: [] for way in ways}
        pictures: dict[str, Any] = {}
        for turn in range(ROUNDS + 1):
            for way in list(ways) if turn % 2 else list(ways)[::-1]:
                bypass_ops.INSIDE = way != "after"
                marks: list[float] = []
                pictures[way] = klein.sample(ways[way], STEPS, lambda *_, to=marks: to.append(klein.clock()))
                if turn:
                    steps[way].append(statistics.median(b - a for a, b in zip(marks[1:], marks[2:], strict=False)))
        bypass_ops.INSIDE = True
    answer: dict[str, Any] = {"steps_ms": steps, "step_ms": {w: statistics.median(v) for w, v in steps.items()}}
    for way in ("inside", "after", "core"):
        ratio = paired_ratio(steps["base"], steps[way])
        answer[f"{way} over base"] = [ratio.value, ratio.low, ratio.high]
        answer[f"{way}, median of ratios"] = statistics.median(
            b / a for a, b in zip(steps["base"], steps[way], strict=True)
        )
    for way in ("inside", "after"):
        answer[f"share of core, {way}"] = (answer[f"{way} over base"][0] - 1) / (answer["core over base"][0] - 1)
        difference = (pictures[way] - pictures["core"]).double().norm() / pictures["core"].double().norm()
        answer[f"difference from core, {way}"] = float(difference)
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
    parser.add_argument("--seconds", type=float, default=170.0, help="a model that would not fit is left out")
    parser.add_argument("--model", default="", help="only this model, as JSON on the last line of the output")
    options = parser.parse_args()
    if options.model:
        print(json.dumps(time_model(options.model, not options.smoke)))
        return 0
    begun, results = time.monotonic(), {}
    for shape in ["tiny"] if options.smoke else ["klein-9b", "klein-4b"]:
        try:
            left = options.seconds - (time.monotonic() - begun)
            command = [sys.executable, __file__, "--model", shape, *(["--smoke"] if options.smoke else [])]
            done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
            results[shape] = (
                json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else done.stderr[-2000:]
            )
        except Exception:
            results[shape] = traceback.format_exc()[-2000:]
        _write(options.out, results)
        print(shape, json.dumps(results[shape], indent=1), flush=True)
    try:
        results["layers_us"] = time_layers(not options.smoke)
    except Exception:
        results["layers_us"] = traceback.format_exc()
    _write(options.out, results)
    return 0


def _write(out: Path, results: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "bypass_micro.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
