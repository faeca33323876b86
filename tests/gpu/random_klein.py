"""FLUX.2 Klein in full size with random weights, LoRA files for it, and its runs; call ``comfy_boot.boot`` before."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import comfy.model_management as mm
import comfy.sample
import comfy.sd
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))
from nano_models import flux2_shapes

SIZES = {
    "klein-4b": {"hidden": 3072, "double": 5, "single": 20, "context": 7680, "side": 64, "tokens": 512, "rank": 32},
    "klein-9b": {"hidden": 4096, "double": 8, "single": 24, "context": 12288, "side": 64, "tokens": 512, "rank": 32},
    "tiny": {"hidden": 128, "double": 2, "single": 4, "context": 64, "side": 4, "tokens": 8, "rank": 8},
}


class RandomKlein:
    """A model of one of :data:`SIZES`; the weights are bf16 in main memory."""

    def __init__(self, shape: str, folder: Path | None = None) -> None:
        """Make the weights and load them.

        Args:
            folder: Write the model there and load it from its file, as ComfyUI's nodes do: only such a model can be
                sampled with hooks under dynamic VRAM.
        """
        self.size = SIZES[shape]
        self.device = mm.get_torch_device()
        size = self.size
        self.shapes: dict[str, tuple[int, ...]]
        self.shapes = flux2_shapes(size["hidden"], size["double"], size["single"], size["context"])
        torch.manual_seed(1)
        self.conditioning = [[torch.randn(1, size["tokens"], size["context"]), {"pooled_output": torch.zeros(1, 8)}]]
        weights = {key: self.random_weight(shape) for key, shape in self.shapes.items()}
        self.base: Any
        if folder is None:
            self.base = comfy.sd.load_diffusion_model_state_dict(weights)
            return
        save_file(weights, str(folder / "model.safetensors"))
        del weights
        self.base = comfy.sd.load_diffusion_model(str(folder / "model.safetensors"))

    def random_weight(self, shape: tuple[int, ...], size: float = 1.0) -> torch.Tensor:
        """bf16 in main memory; drawn on the device, which is much quicker."""
        if len(shape) == 1:
            return torch.ones(shape, dtype=torch.bfloat16)
        scale = size * shape[-1] ** -0.5
        return (torch.randn(shape, device=self.device, dtype=torch.bfloat16) * scale).to("cpu")

    def lora_file(self, folder: Path, seed: int) -> Path:
        """A LoRA on every linear layer of every block."""
        torch.manual_seed(seed)
        rank, state = self.size["rank"], {}
        for key, shape in self.shapes.items():
            if len(shape) == 2 and "blocks." in key:
                prefix = f"diffusion_model.{key.removesuffix('.weight')}"
                state[f"{prefix}.lora_A.weight"] = self.random_weight((rank, shape[1]))
                state[f"{prefix}.lora_B.weight"] = self.random_weight((shape[0], rank), 0.3)
        path = folder / f"lora{seed}.safetensors"
        save_file(state, str(path))
        return path

    def sample(self, model: Any, steps: int = 4, callback: Any = None, conditioning: Any = None) -> torch.Tensor:
        """The latent of a whole run, as a workflow makes it."""
        conditioning = self.conditioning if conditioning is None else conditioning
        latent = torch.zeros(1, 128, self.size["side"], self.size["side"])
        noise = comfy.sample.prepare_noise(latent, 7)
        return comfy.sample.sample(
            model, noise, steps, 1.0, "euler", "simple", conditioning, conditioning, latent,
            callback=callback, disable_pbar=True, seed=7,
        )  # fmt: skip

    def clock(self) -> float:
        """Milliseconds, with nothing left to do on the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() * 1e3
