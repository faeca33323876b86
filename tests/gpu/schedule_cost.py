"""What a LoRA over the steps costs at FLUX.2 Klein 4B's shapes, and is it exact: ``tests/gpu/schedule_cost.py``.

Random weights, 1024 x 1024, four steps. Compared are the model alone, Apply LoRA, and Schedule LoRA with the same
strengths all the time, off outside its window, and with a switch in the middle. Written to
``$OUT/schedule_cost_<mode>.json`` (or beside the shell). ``--smoke`` does the same with a tiny model on the CPU;
``--mode legacy`` loads without dynamic VRAM.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))
from comfy_boot import boot

PARSER = argparse.ArgumentParser(description=__doc__)
PARSER.add_argument("--smoke", action="store_true")
PARSER.add_argument("--mode", choices=("dynamic", "legacy"), default="dynamic")
ARGS = PARSER.parse_args()
boot("cpu" if ARGS.smoke else ARGS.mode)

import comfy.model_management as mm  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.sd  # noqa: E402
import torch  # noqa: E402
from nano_models import flux2_shapes, lora_layers  # noqa: E402
from pack.nodes.host.apply import apply_lora  # noqa: E402
from pack.nodes.host.schedule import attach, schedule_lora  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

KLEIN = {"hidden": 3072, "double": 5, "single": 20, "context": 7680, "side": 64, "tokens": 512, "rank": 32}
TINY = {"hidden": 128, "double": 1, "single": 2, "context": 64, "side": 4, "tokens": 8, "rank": 4}
SIZE = TINY if ARGS.smoke else KLEIN
SHAPES = {key: SIZE[key] for key in ("hidden", "double", "single", "context")}
SIGMAS = (1.0, 0.9674, 0.9081, 0.7672, 0.0)
DEVICE = mm.get_torch_device()
MODE = "cpu" if ARGS.smoke else ARGS.mode
ANSWER: dict[str, Any] = {
    "size": SIZE, "mode": MODE, "torch": torch.__version__, "sigmas": SIGMAS, "errors": {},
    "device": str(DEVICE) if ARGS.smoke else torch.cuda.get_device_name(DEVICE),
}  # fmt: skip


def part(name: str, function: Callable[[], Any]) -> Any:
    """Run a part; a failure loses only itself. The answers so far are always on the disk."""
    begun, result = time.monotonic(), None
    try:
        with torch.inference_mode():
            result = function()
    except Exception:
        ANSWER["errors"][name] = traceback.format_exc()
    folder = Path(os.environ.get("OUT", "."))
    (folder / f"schedule_cost_{MODE}.json").write_text(json.dumps(ANSWER, indent=1) + "\n")
    print(f"{MODE} {name} {time.monotonic() - begun:.1f} s", flush=True)
    return result


def random_state() -> dict[str, torch.Tensor]:
    """bf16 in main memory; drawn on the device, which is much quicker."""
    state = {}
    for key, shape in flux2_shapes(**SHAPES).items():
        weight = torch.randn(shape, device=DEVICE) * shape[-1] ** -0.5 if len(shape) > 1 else torch.ones(shape)
        state[key] = weight.to("cpu", torch.bfloat16)
    return state


def write_lora(path: Path) -> str:
    generator = torch.Generator().manual_seed(1)
    state = {}
    for layer, (rows, columns) in lora_layers(**SHAPES).items():
        down = torch.randn(SIZE["rank"], columns, generator=generator) * columns**-0.5
        up = torch.randn(rows, SIZE["rank"], generator=generator) * 0.1
        state[f"diffusion_model.{layer}.lora_A.weight"] = down.bfloat16()
        state[f"diffusion_model.{layer}.lora_B.weight"] = up.bfloat16()
    save_file(state, path)
    return str(path)


def sample(model: Any, hooks: Any = None, sigmas: tuple[float, ...] = SIGMAS) -> tuple[torch.Tensor, float]:
    """The latent, and the seconds of a second run."""
    generator = torch.Generator().manual_seed(5)
    cond: Any = [[torch.randn(1, SIZE["tokens"], SIZE["context"], generator=generator), {}]]
    if hooks is not None:
        (cond,) = attach(hooks, (cond,))
    noise = torch.randn(1, 128, SIZE["side"], SIZE["side"], generator=generator)
    sampler = comfy.samplers.sampler_object("euler")
    begun, latent = 0.0, noise
    for _ in range(2):
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(cond, cond)
        guider.set_cfg(1.0)
        begun = time.perf_counter()
        latent = guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor(sigmas), seed=0, disable_pbar=True)
        if not ARGS.smoke:
            torch.cuda.synchronize()
    return latent.float().cpu(), time.perf_counter() - begun


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def main() -> None:
    model = part("load", lambda: comfy.sd.load_diffusion_model_state_dict(random_state()))
    with tempfile.TemporaryDirectory() as folder:
        path = write_lora(Path(folder) / "x.safetensors")
        plain, applied = part("plain", lambda: sample(model)), None
        cases = {
            "all the time": ("", (0.0, 1.0)),
            "off": ("", (0.999, 1.0)),
            "switch": ("step 0: all=1; step 2: all=0.5", (0.0, 1.0)),
        }
        scheduled = {}
        for name, (schedule, window) in cases.items():
            made = schedule_lora(path, "x", model, None, (1.0, 0.0), "", schedule, window)
            scheduled[name] = part(name, lambda made=made: sample(model, made.hooks))
        patched = apply_lora(path, "x", model, None, 1.0, 0.0, "").model
        applied = part("apply", lambda: sample(patched))
        again = part("plain again", lambda: sample(model))
    results = {"plain": plain, "apply": applied, "plain again": again, **scheduled}
    ANSWER["seconds"] = {name: round(result[1], 4) for name, result in results.items() if result is not None}
    pairs = {
        "all the time against apply": (scheduled["all the time"], applied),
        "off against plain": (scheduled["off"], plain),
        "plain after hooks against plain": (again, plain),
        "apply against plain (how much the LoRA changes)": (applied, plain),
    }
    ANSWER["relative_distance"] = {
        n: distance(a[0], b[0]) for n, (a, b) in pairs.items() if a is not None and b is not None
    }
    part(
        "compare",
        lambda: print(json.dumps({k: ANSWER[k] for k in ("seconds", "relative_distance", "errors")}, indent=1)),
    )


if __name__ == "__main__":
    main()
