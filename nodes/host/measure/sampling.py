"""One sampling by ComfyUI's own function, as every node that samples by itself does it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import torch


@dataclass(frozen=True)
class Sampling:
    """What a run depends on besides its model."""

    positive: Any
    negative: Any
    latent: dict[str, Any]
    """ComfyUI's LATENT: ``samples``, and what may come with them."""
    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str


def sample_latent(model: Any, sampling: Sampling, callback: Callable[..., None]) -> torch.Tensor:
    """The result of one run, in main memory. The noise depends on seed and size alone.

    Args:
        callback: Called after every step, as ComfyUI's samplers do; may raise to stop.

    Raises:
        InterruptProcessingException: somebody pressed stop.
    """
    comfy.model_management.throw_exception_if_processing_interrupted()
    latent_image = fitting_latent(model, sampling.latent)
    noise = comfy.sample.prepare_noise(latent_image, sampling.seed, sampling.latent.get("batch_index"))
    samples = comfy.sample.sample(
        model,
        noise,
        sampling.steps,
        sampling.cfg,
        sampling.sampler_name,
        sampling.scheduler,
        sampling.positive,
        sampling.negative,
        latent_image,
        noise_mask=sampling.latent.get("noise_mask"),
        callback=callback,
        disable_pbar=True,
        seed=sampling.seed,
    )
    return samples.detach().to("cpu")


def fitting_latent(model: Any, latent: dict[str, Any]) -> torch.Tensor:
    """The latent with the number of channels that the model takes; newer versions of ComfyUI also fit its size."""
    function = comfy.sample.fix_empty_latent_channels
    names = [name for name in inspect.signature(function).parameters if name.startswith("downscale_ratio")]
    return function(model, latent["samples"], *(latent.get(name) for name in names))
