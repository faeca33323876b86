"""What the tests of bypass share: a run of the sampler, a LoRA applied by a method, the difference of two results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIZES = {"hidden": 128, "double": 1, "single": 2}
ROUNDING = 2e-5
"""Relative difference of merged and beside in float32: sums of up to 512 products in another order."""


def sample(host: Any, model: Any, callback: Any = None) -> torch.Tensor:
    """Two Euler steps with fixed noise through ComfyUI's own guider."""
    generator = torch.Generator().manual_seed(5)
    conditioning = [[torch.randn(1, 4, 64, generator=generator), {"pooled_output": torch.zeros(1, 8)}]]
    guider = host.samplers.CFGGuider(model)
    guider.set_conds(conditioning, conditioning)
    guider.set_cfg(1.0)
    noise = torch.randn(1, 128, 4, 4, generator=generator)
    sampler = host.samplers.sampler_object("euler")
    sigmas = torch.tensor([1.0, 0.6, 0.0])
    with torch.inference_mode():
        return guider.sample(
            noise, torch.zeros_like(noise), sampler, sigmas, callback=callback, seed=0, disable_pbar=True
        )


def apply(host: Any, path: str, model: Any, method: str, strength: float = 1.0, blocks: str = "") -> Any:
    return host.apply(path, Path(path).name, model, None, strength, 0.0, blocks, method=method)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).double().norm() / b.double().norm())
