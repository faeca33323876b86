"""What the tests of Feature Shift share: the sizes of the model, a schedule, and settings with made-up prompts."""

from __future__ import annotations

from typing import Any

import torch

NANO = {"hidden": 128, "double": 2, "single": 2}
FLOW = torch.tensor([1.0, 0.7, 0.0])


def settings(host: Any, prompts: int = 2, seeds: int = 2, **change: Any) -> Any:
    generator = torch.Generator().manual_seed(3)
    conditioning = [[torch.randn(1, 8, 64, generator=generator), {}] for _ in range(prompts)]
    latent = {"samples": torch.zeros(1, 128, 4, 4)}
    return host.shift.ProbeSettings(**{
        "conditioning": conditioning, "latent_image": latent, "sigmas": FLOW, "seed": 1, "seeds": seeds, "levels": 4,
        **change,
    })  # fmt: skip
