"""Latents as the pictures that are compared and shown."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...core.sweep.sheet import small_picture

FRAMES = 3
"""Frames of a video that are compared: the first, the last, and between."""


def decode_small(vae: Any, latent: Tensor) -> Tensor:
    """The picture of a latent, [height, width, 3] in 0..1 with at most ``SIDE`` pixels a side; of a video, frames one
    below another.
    """
    pictures = vae.decode(latent[:1])
    pictures = pictures.reshape(-1, *pictures.shape[-3:])[..., :3].to("cpu", torch.float32).clamp(0.0, 1.0)
    count = min(FRAMES, len(pictures))
    chosen = [pictures[round(i * (len(pictures) - 1) / max(1, count - 1))] for i in range(count)]
    return torch.cat([small_picture(picture) for picture in chosen])
