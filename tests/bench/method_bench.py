"""Whether ``cheapest`` takes the cheaper method on the CPU: Klein Nano, the first run after a change of strength.

Run from the project's folder with its virtual environment: ``python tests/bench/method_bench.py [--rounds 7]``. For
each number of steps the LoRA's strength is changed and the model sampled, merged, beside the weights, and as
``cheapest`` says, in turns; node and run are timed together. Exit status 1 if a choice of it costs more than the
limit over the better method.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from faithful_table import ROOT, start_comfyui

LIMIT = 0.05
"""A choice may cost this share more than the better one; both are within it where they cost the same."""
STEPS = (1, 2, 4, 8, 20)
BLOCKS = {"all": "", "one block": "single_blocks.0={}"}


def main() -> int:
    """Print a row for each number of steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    start_comfyui()
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with torch.inference_mode():
        rows = measure(options.rounds)
    print("| a change of | steps | merge, ms | bypass, ms | cheapest takes | over the better |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print("| {what} | {steps} | {merge:.1f} | {bypass:.1f} | {auto} | {over:+.1%} |".format(**row))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["over"] <= LIMIT for row in rows) else 1


def measure(rounds: int) -> list[dict[str, Any]]:
    """Median milliseconds of each method, by what is changed and by steps."""
    import comfy.sd
    import torch

    model = comfy.sd.load_diffusion_model(str(ROOT / "models" / "diffusion_models" / "klein-nano-base.safetensors"))
    width = model.model_state_dict()["diffusion_model.txt_in.weight"].shape[1]
    conditioning = [[torch.randn(1, 16, width), {"pooled_output": torch.zeros(1, 8)}]]
    path = ROOT / "models" / "loras" / "klein-nano-duotone.safetensors"
    result = []
    for what, blocks in BLOCKS.items():
        for steps in STEPS:
            times: dict[str, list[float]] = {"merge": [], "bypass": []}
            for method in times:  # so that neither pays for what both need
                run(model, path, conditioning, method, 1.0, "", steps)
            taken = ""
            for turn in range(rounds):
                strength = 0.5 + turn / 50
                for method in list(times)[:: 1 if turn % 2 else -1]:
                    run(model, path, conditioning, method, 1.0, "", 1)
                    one = (1.0, blocks.format(strength)) if blocks else (strength, "")
                    if not taken:
                        taken = choice(model, path, one, steps)
                    begun = time.perf_counter()
                    run(model, path, conditioning, method, *one, steps)
                    times[method].append((time.perf_counter() - begun) * 1e3)
            medians = {method: statistics.median(values) for method, values in times.items()}
            over = medians[taken] / min(medians.values()) - 1
            result.append({"what": what, "steps": steps, **medians, "cheapest": taken, "over": over, "raw": times})
    return result


def apply(model: Any, path: Path, method: str, strength: float, blocks: str, steps: int) -> Any:
    from pack.nodes.host.apply.apply import apply_lora

    return apply_lora(str(path), path.name, model, None, strength, 0.0, blocks, method=method, steps=steps)


def choice(model: Any, path: Path, change: tuple[float, str], steps: int) -> str:
    """The method that ``cheapest`` takes."""
    report = apply(model, path, "cheapest", *change, steps).report
    return next(layer.method for layer in report.layers if layer.method)


def run(model: Any, path: Path, conditioning: Any, method: str, strength: float, blocks: str, steps: int) -> Any:
    """The node and a whole run."""
    import comfy.sample
    import torch

    patched = apply(model, path, method, strength, blocks, steps).model
    latent = torch.zeros(1, 128, 8, 8)
    return comfy.sample.sample(
        patched, torch.randn(latent.shape), steps, 1.0, "euler", "simple", conditioning, conditioning, latent,
        disable_pbar=True, seed=1,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
