"""What a profile of one LoRA costs at FLUX.2 Klein 4B's shapes: ``python3 tests/gpu/shift_cost.py``.

Random weights, 1024 x 1024, four prompts, four noise levels, with the hooks of Feature Shift and without them. Written
to ``$OUT/shift_cost.json`` (or beside the shell). ``--smoke`` does the same with a tiny model on the CPU; ``--mode
legacy`` loads without dynamic VRAM.
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
import comfy.sd  # noqa: E402
import torch  # noqa: E402
from nano_models import flux2_shapes  # noqa: E402
from pack.nodes.core.transfer.shift_report import build_rows  # noqa: E402
from pack.nodes.host.apply.lora_cache import LORA_CACHE  # noqa: E402
from pack.nodes.host.transfer import probes as probing  # noqa: E402
from pack.nodes.host.transfer.profiling import model_digest, take_profile  # noqa: E402
from pack.nodes.host.transfer.strength_lab import patch_model  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

KLEIN = {"hidden": 3072, "double": 5, "single": 20, "context": 7680, "side": 64, "tokens": 512, "rank": 32}
TINY = {"hidden": 128, "double": 1, "single": 2, "context": 64, "side": 4, "tokens": 8, "rank": 4}
SIZE = TINY if ARGS.smoke else KLEIN
SIGMAS = (1.0, 0.9674, 0.9081, 0.7672, 0.0)
PROMPTS = 4
DEVICE = mm.get_torch_device()
ANSWER: dict[str, Any] = {
    "size": SIZE,
    "mode": "cpu" if ARGS.smoke else ARGS.mode,
    "torch": torch.__version__,
    "device": str(DEVICE) if ARGS.smoke else torch.cuda.get_device_name(DEVICE),
    "prompts": PROMPTS,
    "sigmas": SIGMAS[:-1],
}


def write() -> None:
    folder = Path(os.environ.get("OUT", "."))
    (folder / "shift_cost.json").write_text(json.dumps(ANSWER, indent=1) + "\n")


def part(name: str, work: Callable[[], Any]) -> Any:
    """Run one part; an error loses only that part."""
    started = time.perf_counter()
    try:
        return work()
    except Exception:
        ANSWER.setdefault("errors", {})[name] = traceback.format_exc()
        return None
    finally:
        print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)
        write()


def shapes() -> dict[str, tuple[int, ...]]:
    return flux2_shapes(SIZE["hidden"], SIZE["double"], SIZE["single"], SIZE["context"])


def random(shape: tuple[int, ...], size: float) -> torch.Tensor:
    """Random bf16 numbers, made where that is fast."""
    return (torch.randn(shape, device=DEVICE, dtype=torch.bfloat16) * size).cpu()


def make_model() -> Any:
    torch.manual_seed(0)
    state = {
        key: torch.ones(shape, dtype=torch.bfloat16) if len(shape) == 1 else random(shape, shape[1] ** -0.5)
        for key, shape in shapes().items()
    }
    return comfy.sd.load_diffusion_model_state_dict(state)


def make_lora(folder: str) -> Any:
    tensors: dict[str, torch.Tensor] = {}
    for key, shape in shapes().items():
        if len(shape) == 2 and "blocks." in key:
            name = f"diffusion_model.{key.removesuffix('.weight')}"
            tensors[f"{name}.lora_A.weight"] = random((SIZE["rank"], shape[1]), shape[1] ** -0.5)
            tensors[f"{name}.lora_B.weight"] = random((shape[0], SIZE["rank"]), 0.02)
    path = str(Path(folder) / "random.safetensors")
    save_file(tensors, path)
    return LORA_CACHE.load(path, "random.safetensors")


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result, wall-clock seconds and the peak of torch's memory, synchronised."""
    if not ARGS.smoke:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    result = work()
    figures: dict[str, float] = {}
    if not ARGS.smoke:
        torch.cuda.synchronize()
        figures["peak_allocated_mib"] = torch.cuda.max_memory_allocated() / 2**20
        figures["peak_reserved_mib"] = torch.cuda.max_memory_reserved() / 2**20
        figures["device_used_mib"] = (torch.cuda.mem_get_info()[1] - torch.cuda.mem_get_info()[0]) / 2**20
    figures["seconds"] = time.perf_counter() - started
    return result, figures


def measure(model: Any, lora: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    conditioning = [
        [torch.randn(1, SIZE["tokens"], SIZE["context"], generator=generator) * 0.5, {}] for _ in range(PROMPTS)
    ]
    latent = {"samples": torch.zeros(1, 128, SIZE["side"], SIZE["side"])}
    probes = probing.plan_probes(model, conditioning, latent, torch.tensor(SIGMAS), 0, 1, 4)
    patched = patch_model(model, lora, "")
    ANSWER["load_first"] = timed(lambda: probing.outputs(model, probes))[1]
    probes, ANSWER["plain_walk"] = timed(lambda: probing.walk_latents(model, probes))
    ANSWER["plain_walk_patched_first"] = timed(lambda: probing.outputs(patched, probes))[1]
    ANSWER["plain_walk_patched"] = timed(lambda: probing.outputs(patched, probes))[1]
    ANSWER["plain_back"] = timed(lambda: probing.outputs(model, probes))[1]
    a, ANSWER["profile_without"] = timed(lambda: take_profile(model, probes))
    b, ANSWER["profile_with"] = timed(lambda: take_profile(patched, probes))
    again, ANSWER["profile_with_again"] = timed(lambda: take_profile(patched, probes))
    rows, ANSWER["compare_on_cpu"] = timed(lambda: build_rows(a, b, a))
    ANSWER["digest"] = timed(lambda: model_digest(patched))[1]
    floor = max(row.shift for row in build_rows(b, again, b))
    ANSWER["floor_of_two_runs"] = floor
    ANSWER["places"] = len(rows)
    ANSWER["output_shift"] = rows[-1].shift
    profile = ANSWER["profile_without"]["seconds"] + ANSWER["profile_with"]["seconds"]
    ANSWER["profile_of_one_lora_s"] = profile
    ANSWER["target_s"] = 30
    if not ARGS.smoke:
        before = max(ANSWER[name]["peak_allocated_mib"] for name in ("plain_walk", "plain_walk_patched"))
        after = max(ANSWER[name]["peak_allocated_mib"] for name in ("profile_without", "profile_with"))
        ANSWER["extra_vram_mib"] = after - before
        ANSWER["extra_reserved_mib"] = max(
            ANSWER[name]["peak_reserved_mib"] for name in ("profile_without", "profile_with")
        ) - max(ANSWER[name]["peak_reserved_mib"] for name in ("plain_walk", "plain_walk_patched"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = part("model", make_model)
        lora = part("lora", lambda: make_lora(folder))
        if model is not None and lora is not None:
            part("measure", lambda: measure(model, lora))
    print(json.dumps(ANSWER, indent=1))


if __name__ == "__main__":
    main()
