"""Workflows of Klein Nano in API format, commands that run them, and a server that is killed in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "core"))

LORA = "klein-nano-duotone-distilled.safetensors"


def prompt(steps: int = 2) -> dict[str, Any]:
    """Klein Nano with a LoRA, in API format."""
    settings = {"seed": 7, "steps": steps, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    strengths = {"strength_model": 1.0, "strength_clip": 1.0, "blocks": "", "method": "merge", "as_stock": False}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "1": ("UNETLoader", {"unet_name": "klein-nano-distilled.safetensors", "weight_dtype": "default"}),
        "2": ("PatchbayLoadConditioning", {"file_name": "klein-nano-prompts.safetensors", "prompt": "butterfly"}),
        "3": ("ConditioningZeroOut", {"conditioning": ["2", 0]}),
        "4": ("EmptyFlux2LatentImage", {"width": 64, "height": 64, "batch_size": 1}),
        "5": ("PatchbayApplyLora", {"model": ["1", 0], "lora_name": LORA, **strengths}),
        "6": (
            "KSampler",
            {"model": ["5", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0], **settings},
        ),
        "7": ("PatchbayLoadTinyVAE", {"vae_name": "klein-nano"}),
        "8": ("VAEDecode", {"samples": ["6", 0], "vae": ["7", 0]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "never"}),
    }
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def command(*words: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and messages of a command."""
    from cli_runs import run

    code, out, err = run(*words, "--json")
    return code, json.loads(out) if out else {}, err


def pictures(folder: Path) -> dict[str, bytes]:
    """Pixels of every cell by key: the files hold the prompt too, and who made them."""
    found = {}
    for path in (folder / "cells").iterdir():
        with Image.open(path) as image:
            found[path.stem] = image.tobytes()
    return found


@contextmanager
def killed_after(process: subprocess.Popen[Any] | None, folder: Path, count: int) -> Iterator[list[int]]:
    """Kill a program once ``folder`` has so many cells; what is yielded then holds how many there really were."""
    assert process is not None
    killed: list[int] = []
    ended = threading.Event()

    def kill_in_the_middle() -> None:
        while len(list((folder / "cells").glob("*.png"))) < count:
            if ended.wait(0.05):
                return
        process.kill()
        killed.append(len(list((folder / "cells").glob("*.png"))))

    killer = threading.Thread(target=kill_in_the_middle, daemon=True)
    killer.start()
    try:
        yield killed
    finally:
        ended.set()
        killer.join(timeout=10)
