"""Styles by a rule, taught without styled pictures of any caption but those the LoRA may see.

A LoRA that is shown styled pictures of 96 captions learns those pictures by heart. Here it learns the rule: whatever
clean picture its model predicts from an input, with the LoRA it shall predict that picture put through the rule. The
captions are the 96 and ones that mean little; no held-out caption is among them. For an affine rule the mean of styled
pictures is the style of the mean picture, so the blurred predictions at high noise have a true target too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from autoencoder import LIVE, Autoencoder
from flow import draw_noise, integrate, schedule
from pictures import DUOTONE_ENDS, LUMA, MONOCHROME_ENDS, OWN_COLOUR
from torch import Tensor, nn
from transformer import TEXT_TOKENS, Flux2, Weights

if TYPE_CHECKING:
    from train import Lab

SIZE, CHUNK = 768, 64
"""Pictures in a pool, and how many are made at once."""
RULE_STEPS = 2000
WORDS = 8
"""Text tokens that are kept; those before them are zero."""
STEPS = 4
ENDS = {"duotone": DUOTONE_ENDS, "monochrome": MONOCHROME_ENDS}


def toned(pictures: Tensor, dark: tuple[float, ...], light: tuple[float, ...]) -> Tensor:
    """``pictures.toned`` for [batch, 3, height, width] in [0, 1]."""
    weights = torch.tensor(LUMA, device=pictures.device)
    low, high = (torch.tensor(end, device=pictures.device)[None, :, None, None] for end in (dark, light))
    level = (pictures * weights[None, :, None, None]).sum(1, keepdim=True)
    return OWN_COLOUR * pictures + (1 - OWN_COLOUR) * (low + (high - low) * level)


class Rule(nn.Module):
    """A style as a function of clean latents, learned from pictures that were decoded, styled and encoded.

    It stands for decoder, rule and encoder, which would cost more than the model that is trained.
    """

    def __init__(self, width: int = 256):
        super().__init__()
        self.straight = nn.Conv2d(LIVE, LIVE, 3, padding=1)
        first, last = nn.Conv2d(LIVE, width, 3, padding=1), nn.Conv2d(width, LIVE, 1)
        self.bent = nn.Sequential(first, nn.GELU(), nn.Conv2d(width, width, 1), nn.GELU(), last)

    def forward(self, latents: Tensor) -> Tensor:
        """[batch, 128, 8, 8], same shape; the dead channels of the result are zero."""
        live = latents[:, :LIVE].float()
        return F.pad(self.straight(live) + self.bent(live), (0, 0, 0, 0, 0, latents.shape[1] - LIVE))


@torch.no_grad()
def style_latents(autoencoder: Autoencoder, latents: Tensor, style: str) -> Tensor:
    """Latents of the styled pictures of ``latents`` [count, 128, 8, 8]."""
    parts = []
    for part in latents.split(256):
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=latents.is_cuda):
            pictures = autoencoder.decode(part).float()
            parts.append(autoencoder.encode(toned(pictures, *ENDS[style])).float())
    return torch.cat(parts)


def learn_rule(lab: Lab, autoencoder: Autoencoder, clean: Tensor, style: str, seed: int = 41) -> Rule:
    """Fit a ``Rule`` to pictures, and to mixtures of pictures, which a model predicts where there is much noise.

    It is kept in the work folder.

    Args:
        clean: latents [count, 128, 8, 8] of pictures without the style.
    """
    path = lab.work / f"rule-{style}.pt"
    if path.exists():
        rule = Rule()
        rule.load_state_dict(torch.load(path, map_location="cpu"))
        return rule.to(lab.device).requires_grad_(False)
    generator = torch.Generator(lab.device).manual_seed(seed)
    order = torch.randperm(len(clean), generator=generator, device=lab.device)
    share = torch.rand(len(clean), 1, 1, 1, generator=generator, device=lab.device)
    clean = torch.cat([clean, share * clean + (1 - share) * clean[order]])
    styled = style_latents(autoencoder, clean, style)
    torch.manual_seed(seed)
    rule, steps = Rule().to(lab.device), 3 if lab.smoke else RULE_STEPS
    adam = torch.optim.Adam(rule.parameters(), lr=3e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        rows = torch.randint(len(clean), (128,), generator=generator, device=lab.device)
        error = (rule(clean[rows]) - styled[rows])[:, :LIVE].square().mean()
        adam.zero_grad()
        error.backward()
        adam.step()
        falling.step()
    print(f"rule of {style}: {error.item() / styled[:, :LIVE].var().item():.4f} of the variance is left", flush=True)
    torch.save(rule.state_dict(), path)
    return rule.requires_grad_(False)


def meaningless_captions(lab: Lab, count: int, generator: torch.Generator) -> Tensor:
    """[count, WORDS, 128]: a sixth each no words (the model draws what it likes), seen captions with one random word,
    with two, and words of two seen captions; a third mixtures of two seen captions."""

    def seen(number: int) -> Tensor:
        draw = torch.randint(len(lab.style_index), (number,), generator=generator, device=lab.device)
        return lab.text[lab.style_index[draw], -WORDS:].clone()

    sixth = count // 6
    share = 0.2 + 0.6 * torch.rand(2 * sixth, 1, 1, generator=generator, device=lab.device)
    mixed = share * seen(2 * sixth) + (1 - share) * seen(2 * sixth)
    replaced = seen(2 * sixth)
    place = -1 - torch.randint(2, (2 * sixth,), generator=generator, device=lab.device)
    rows = torch.arange(2 * sixth, device=lab.device)
    replaced[rows, place] = torch.randn(2 * sixth, 128, generator=generator, device=lab.device)
    replaced[:sixth, -1] = torch.randn(sixth, 128, generator=generator, device=lab.device)
    swapped = seen(sixth)
    swapped[:, -1] = seen(sixth)[:, -1]
    nothing = torch.zeros(count - 5 * sixth, WORDS, 128, device=lab.device)
    return torch.cat([nothing, mixed, replaced, swapped])


def style_captions(lab: Lab, count: int, generator: torch.Generator) -> Tensor:
    """Texts [count, TEXT_TOKENS, 128]: half of seen captions, half ``meaningless_captions``."""
    draw = torch.randint(len(lab.style_index), (count // 2,), generator=generator, device=lab.device)
    text = torch.zeros(count, TEXT_TOKENS, 128, device=lab.device)
    text[: count // 2] = lab.text[lab.style_index[draw]]
    text[count // 2 :, -WORDS:] = meaningless_captions(lab, count - count // 2, generator)
    return text


class PicturePool:
    """Pictures that a many-step model makes without a style (4 steps, no guidance), with their captions.

    They are kept in the work folder.
    """

    def __init__(self, lab: Lab, weights: Weights, seed: int = 31):
        self.lab, generator, path = lab, torch.Generator(lab.device).manual_seed(seed), lab.work / "pool.pt"
        if path.exists():
            self.clean, self.words = torch.load(path, map_location=lab.device)
            return
        size, chunk = (24, 12) if lab.smoke else (SIZE, CHUNK)
        model, rows = Flux2(device=lab.device), []
        if lab.device.type == "cuda":
            weights = {k: v.bfloat16() for k, v in weights.items()}
        for _ in range(size // chunk):
            text, noise = style_captions(lab, chunk, generator), draw_noise(chunk, generator)
            clean = integrate(model, weights, noise, schedule(STEPS), text).float()
            clean[:, LIVE:] = 0
            rows.append((clean, text[:, -WORDS:].clone()))
        self.clean, self.words = (torch.cat(parts) for parts in zip(*rows, strict=True))
        torch.save((self.clean, self.words), path)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents [count, 128, 8, 8] and texts [count, TEXT_TOKENS, 128]."""
        rows = torch.randint(len(self.clean), (count,), generator=generator, device=self.lab.device)
        text = torch.zeros(count, TEXT_TOKENS, 128, device=self.lab.device)
        text[:, -WORDS:] = self.words[rows]
        return self.clean[rows], text


def predict_clean(lab: Lab, weights: Weights, x: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """The clean latents [batch, 128, 8, 8] a model sees in ``x``, whose dead channels are zero."""
    clean = x - sigma[:, None, None, None] * lab.model(weights, x, sigma, text)
    clean[:, LIVE:] = 0
    return clean


@torch.no_grad()
def walk_in_pairs(
    lab: Lab, weights: Weights, rule: Rule, text: Tensor, sigmas: list[float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A few-step model's own walk through ``sigmas``, and the walk it would take if every prediction were styled.

    An Euler step moves ``x`` towards the predicted clean latents: x' = (s'/s) x + (1 - s'/s) clean.

    Returns:
        Both walks' latents at the last of ``sigmas``.
    """
    plain = styled = draw_noise(len(text), generator)
    for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        level = torch.full((len(text),), now, device=lab.device)
        clean, share = predict_clean(lab, weights, plain, level, text), after / now
        plain = share * plain + (1 - share) * clean
        styled = share * styled + (1 - share) * rule(clean)
    return plain, styled
