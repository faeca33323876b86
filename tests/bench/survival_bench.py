"""What measuring costs that ``auto`` decides by: what of a LoRA survives in quantised weights when it is merged.

Run from the project's folder with its virtual environment: ``python tests/bench/survival_bench.py [--device cuda]``.
Layers of FLUX.2 Klein 4B's width in the formats of ``tests/lab/quantised_table.py``, by ComfyUI's own quantisers with
the official groups of 256 columns, and a rank-32 LoRA on each. The time is that of the first application, with nothing
remembered; the formats of the weights are known after the first round. On a GPU it is the time that one waits, on the
CPU the process's own on one core, halved for two: it does not depend on what else a busy machine does. Exit status 1 if
a format takes longer than 30 ms on a GPU or 100 ms on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT / "tests" / "lab")]
from faithful_table import start_comfyui  # noqa: E402

SIZES = {"hidden": 3072, "double": 1, "single": 1}
RANK, STRENGTH = 32, 0.1
LIMITS = {"cpu": 100.0, "cuda": 30.0}
"""Milliseconds."""


def main() -> int:
    """Measure every format and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=tuple(LIMITS), default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="a word that the names of the formats have; empty: all formats")
    parser.add_argument("--hidden", type=int, default=SIZES["hidden"])
    options = parser.parse_args()
    SIZES["hidden"] = options.hidden
    start_comfyui()
    import quantised_table
    import torch

    quantised_table.GROUP = 256
    print("| stored as | measured weights | median, ms | slowest, ms | arrives | noise |\n|---|---|---|---|---|---|")
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name in (name for name in quantised_table.FORMATS if options.only in name):
            times, found = measure(name, Path(folder), options.device, options.rounds)
            middle = statistics.median(times)
            slowest = max(slowest, middle)
            figures = f"{len(found.measured)} of {found.weights} | {middle:.0f} | {max(times):.0f}"
            print(f"| {name} | {figures} | {found.kept:.2f} | {found.noise:.2f} |", flush=True)
    return 0 if slowest <= LIMITS[options.device] else 1


def measure(name: str, folder: Path, device: str, rounds: int) -> tuple[list[float], Any]:
    """Milliseconds of each round, and what was found out."""
    import comfy.sd
    import torch
    from nano_models import flux2_shapes
    from pack.nodes.host.apply import survival
    from pack.nodes.host.apply.lora_cache import LORA_CACHE
    from pack.nodes.host.apply.plan import MATCHES, plan_patches
    from quantised_table import FORMATS, quantised

    layout, options, conf = FORMATS[name]
    grouped = {key: 256 if key == "convrot_groupsize" else value for key, value in options.items()}
    told = {key: 256 if key == "convrot_groupsize" else value for key, value in conf.items()}
    FORMATS[name] = (layout, grouped, told)
    generator = torch.Generator().manual_seed(1)
    state = {
        key: (torch.randn(shape, generator=generator) * 0.02).bfloat16() for key, shape in flux2_shapes(**SIZES).items()
    }
    model = comfy.sd.load_diffusion_model_state_dict(quantised(state, name))
    del state
    if device == "cuda":
        model.load_device = torch.device("cuda")
    path = lora_file(folder / f"{name.replace(', ', '-')}.safetensors", generator)
    keys = MATCHES.model_keys(model, None)
    plan = plan_patches(LORA_CACHE.load(str(path), path.name), keys, STRENGTH, 0.0, "", sizes_later=True)
    clock, cores = (time.perf_counter, 1) if device == "cuda" else (time.process_time, 2)
    survival.time = SimpleNamespace(monotonic=clock)  # its own limit, by the same clock
    times: list[float] = []
    found: Any = None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for turn in range(rounds + 1):
        for patch in plan.patches:
            patch.patch.found.survival.clear()
        synchronise(device)
        begun = clock()
        found = survival.measure_requantisation(plan.patches, model)
        synchronise(device)
        if turn:
            times.append((clock() - begun) * 1e3 / cores)
    torch.set_num_threads(threads)
    return times, found


def lora_file(path: Path, generator: Any) -> Path:
    """A LoRA on every linear layer of every block."""
    import torch
    from nano_models import lora_layers, write

    state: dict[str, Any] = {}
    for layer, (rows, columns) in lora_layers(**SIZES).items():
        for end, shape in (("lora_A", (RANK, columns)), ("lora_B", (rows, RANK))):
            state[f"diffusion_model.{layer}.{end}.weight"] = (torch.randn(shape, generator=generator) * 0.1).bfloat16()
    write(path, state)
    return path


def synchronise(device: str) -> None:
    """Wait for the device, if it is one that has to be waited for."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
