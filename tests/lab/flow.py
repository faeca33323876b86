"""Sigmas, sampling and scores: what ComfyUI's Flux2Scheduler, euler and CFGGuider do, on batches."""

import math

import torch
from autoencoder import LIVE
from torch import Tensor
from transformer import Flux2, Weights

IMAGE_TOKENS = 64
"""Tokens of a 128 x 128 picture."""
TRAIN_MU = 1.83
"""Shift of the training sigmas: that of Flux2Scheduler for 20 steps at 128 px."""


def shift_sigma(t: Tensor, mu: float) -> Tensor:
    """Time in [0, 1] to sigma, as ``generalized_time_snr_shift`` with exponent 1."""
    return math.exp(mu) * t / (math.exp(mu) * t + 1 - t)


def schedule(steps: int) -> list[float]:
    """The sigmas of Flux2Scheduler (``compute_empirical_mu``) for 128 px, ``steps + 1`` numbers."""
    at_200 = 0.00016927 * IMAGE_TOKENS + 0.45666666
    at_10 = 8.73809524e-05 * IMAGE_TOKENS + 1.89833333
    slope = (at_200 - at_10) / 190
    mu = slope * steps + at_200 - 200 * slope
    return shift_sigma(torch.linspace(1, 0, steps + 1, dtype=torch.float64), mu).tolist()


def draw_noise(count: int, generator: torch.Generator) -> Tensor:
    """Noise [count, 128, 8, 8] with the dead channels at zero (the models ignore them)."""
    noise = torch.randn(count, 128, 8, 8, generator=generator, device=generator.device)
    noise[:, LIVE:] = 0
    return noise


def velocity(model: Flux2, weights: Weights, x: Tensor, sigma: float, text: Tensor, cfg: float) -> Tensor:
    """Guided velocity; the unconditional caption is all zeros."""
    level = torch.full((len(x),), sigma, device=x.device)
    conditional = model(weights, x, level, text)
    if cfg == 1:
        return conditional
    empty = model(weights, x, level, torch.zeros_like(text))
    return empty + cfg * (conditional - empty)


@torch.no_grad()
def integrate(
    model: Flux2, weights: Weights, x: Tensor, sigmas: list[float], text: Tensor, cfg: float = 1.0
) -> Tensor:
    """Euler steps from ``sigmas[0]`` to ``sigmas[-1]``."""
    for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        x = x + (after - now) * velocity(model, weights, x, now, text, cfg)
    return x


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """[batch] peak signal-to-noise ratio in dB of pictures in [0, 1]."""
    return -10 * (first - second).square().flatten(1).mean(1).clamp_min(1e-10).log10()


def retrieval(samples: Tensor, pictures: Tensor, index: Tensor) -> float:
    """Share of ``samples`` whose nearest of ``pictures`` (L2) is number ``index``."""
    nearest = torch.cdist(samples.flatten(1), pictures.flatten(1)).argmin(1)
    return (nearest == index).float().mean().item()
