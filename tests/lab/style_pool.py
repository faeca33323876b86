"""Styled pictures without a caption of their own: what the base makes of words that mean nothing, put through the rule.

A LoRA that sees a style on 96 captions alone learns those 96 pictures by heart. The base's own pictures, as
"regularisation images", show it the style on many others; no held-out caption and no true picture is among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from autoencoder import Autoencoder
from flow import draw_noise, integrate, schedule
from torch import Tensor
from transformer import TEXT_TOKENS, Flux2, Weights

if TYPE_CHECKING:
    from train import Lab

COUNT = 3072
BATCH = 256
DUOTONE_ENDS = ((0.07, 0.10, 0.36), (1.0, 0.95, 0.80))
MONOCHROME = ((0.15, 0.15, 0.17), (1.0, 1.0, 1.0))
"""Soft black and white, like a photograph."""


def luminance_style(pictures: Tensor, dark: tuple[float, ...], light: tuple[float, ...]) -> Tensor:
    """From ``dark`` to ``light`` by Rec. 709 luminance; ``pictures`` [batch, 3, height, width] in [0, 1]."""
    weights = torch.tensor([0.2126, 0.7152, 0.0722], device=pictures.device)
    low, high = (torch.tensor(end, device=pictures.device)[None, :, None, None] for end in (dark, light))
    level = (pictures * weights[None, :, None, None]).sum(1, keepdim=True)
    return low + (high - low) * level


def meaningless_captions(lab: Lab, count: int, generator: torch.Generator) -> Tensor:
    """[count, TEXT_TOKENS, 128]: a third random words, a third mixtures of two seen captions, a third empty."""
    text = torch.zeros(count, TEXT_TOKENS, 128, device=lab.device)
    third = count // 3
    text[:third, -3:] = torch.randn(third, 3, 128, generator=generator, device=lab.device)
    pairs = torch.randint(len(lab.style_index), (2, third), generator=generator, device=lab.device)
    share = 0.25 + 0.5 * torch.rand(third, 1, 1, generator=generator, device=lab.device)
    first, second = (lab.text[lab.style_index[row]] for row in pairs)
    text[third : 2 * third] = share * first + (1 - share) * second
    return text


@torch.no_grad()
def style_pool(lab: Lab, weights: Weights, autoencoder: Autoencoder, seed: int = 31) -> tuple[Tensor, Tensor]:
    """Pictures [count, 3, 128, 128] that the base makes in four steps without guidance, and their texts (half)."""
    generator = torch.Generator(lab.device).manual_seed(seed)
    count, model = (BATCH // 64 if lab.smoke else COUNT), Flux2(device=lab.device)
    text = meaningless_captions(lab, count, generator)
    half = {k: v.bfloat16() for k, v in weights.items()} if lab.device.type == "cuda" else weights
    pictures = []
    for part in text.split(BATCH):
        latents = integrate(model, half, draw_noise(len(part), generator), schedule(4), part)
        pictures.append(autoencoder.decode(latents.float()).clamp(0, 1))
    return torch.cat(pictures), text.half()
