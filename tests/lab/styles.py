"""Styles by a rule, taught without a styled picture of any caption but those the LoRA may see.

A LoRA that is shown styled pictures of 96 captions learns those pictures by heart. Here it learns the rule: whatever
clean picture its model predicts from an input, with the LoRA it shall predict that picture put through the rule. The
examples are made once, by decoding, styling and encoding; captions are the 96 and ones that mean little, pictures are
the model's own and emoji that it never saw. No held-out caption is among them, and no picture that looks like one. For
an affine rule the mean of styled pictures is the style of the mean picture, so the blurred predictions at high noise
have a true target too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from autoencoder import LIVE, Autoencoder
from flow import draw_noise, integrate, schedule, shift_sigma
from pictures import DUOTONE_ENDS, LUMA, MONOCHROME_ENDS
from students import cast
from torch import Tensor
from transformer import TEXT_TOKENS, Flux2, Weights, shape_of

if TYPE_CHECKING:
    from train import Lab

ENDS = {"duotone": DUOTONE_ENDS, "monochrome": MONOCHROME_ENDS}
SIZE = 4608
"""Examples of each kind in ``noised_examples``, twice as many of the first two; in all as in ``walked_examples``."""
CHUNK = 512
WORDS = 8
"""Text tokens that are kept; those before them are zero."""
STEPS = 8
"""Steps of the model's own pictures."""
MU, PURE = 1.5, 0.1
"""Shift of the sigmas of the examples, lower than the base's, for a style's detail is made at low noise; and the share
of examples that are pure noise."""


@dataclass(frozen=True)
class Part:
    """How a group of layers takes part in a style."""

    rank: int
    decay: float
    """Of AdamW. What carries over to other captions is the way in and out of the picture and the last block; layers
    before them learn what the seen captions look like, unless they are held back."""


def style_parts(weights: Weights) -> dict[str, Part]:
    """The layers that a style patches, by key without ``.weight``."""
    last, parts = shape_of(weights).single - 1, {}
    for key, value in weights.items():
        layer = key.removesuffix(".weight")
        if value.ndim != 2:
            continue
        if layer.startswith(("img_in", "final_layer.", f"single_blocks.{last}.")):
            parts[layer] = Part(32, 1.0)
        elif layer.startswith(f"single_blocks.{last - 1}."):
            parts[layer] = Part(16, 3.0)
        elif ".txt_" in layer:
            parts[layer] = Part(4, 30.0)
        elif "_blocks." in layer:
            parts[layer] = Part(8, 10.0)
    return parts


def toned(pictures: Tensor, dark: tuple[float, ...], light: tuple[float, ...]) -> Tensor:
    """``pictures.toned`` for [batch, 3, height, width] in [0, 1]."""
    weights = torch.tensor(LUMA, device=pictures.device)
    low, high = (torch.tensor(end, device=pictures.device)[None, :, None, None] for end in (dark, light))
    return low + (high - low) * (pictures * weights[None, :, None, None]).sum(1, keepdim=True)


def in_full(live: Tensor) -> Tensor:
    """[batch, LIVE, 8, 8] to [batch, 128, 8, 8], the dead channels zero."""
    return F.pad(live, (0, 0, 0, 0, 0, 128 - LIVE))


def in_context(words: Tensor) -> Tensor:
    """[batch, WORDS, 128] to [batch, TEXT_TOKENS, 128]."""
    return F.pad(words, (0, 0, TEXT_TOKENS - WORDS, 0))


@dataclass(frozen=True)
class Examples:
    """What the model with its LoRA sees, and the clean latents it shall predict from that."""

    styled: Tensor
    """[count, LIVE, 8, 8] float16."""
    goal: Tensor
    """[count, LIVE, 8, 8] float16."""
    sigma: Tensor
    """[count]."""
    words: Tensor
    """[count, WORDS, 128] float16."""

    def loss(self, model: Flux2, patched: Weights, count: int, generator: torch.Generator) -> Tensor:
        """Squared error of the velocity on a random batch, weighted by sigma: by the clean latents alone low noise
        would count for nothing, by the velocity alone for too much."""
        rows = torch.randint(len(self.sigma), (count,), generator=generator, device=self.sigma.device)
        sigma, x = self.sigma[rows], self.styled[rows].float()
        level = sigma[:, None, None, None]
        target = (x - self.goal[rows].float()) / level
        velocity = model(patched, in_full(x), sigma, in_context(self.words[rows].float()))
        return ((velocity[:, :LIVE] - target).square() * level).mean()


class ExampleMaker:
    """Makes the examples of one style for one model."""

    def __init__(self, lab: Lab, autoencoder: Autoencoder, weights: Weights, style: str, seed: int = 31):
        self.lab, self.autoencoder, self.ends = lab, autoencoder, ENDS[style]
        self.weights, self.model = cast(weights, lab.device), Flux2(device=lab.device)
        self.generator = torch.Generator(lab.device).manual_seed(seed)
        self.size = 2 if lab.smoke else SIZE
        self.parts: list[Examples] = []

    @torch.no_grad()
    def decode(self, live: Tensor) -> Tensor:
        """Pictures [batch, 3, 128, 128] of live latents."""
        return torch.cat([self.autoencoder.decode(in_full(part.float())).float() for part in live.split(CHUNK)])

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Live latents of pictures."""
        return torch.cat([self.autoencoder.encode(part)[:, :LIVE].float() for part in pictures.split(CHUNK)])

    def style(self, pictures: Tensor) -> Tensor:
        """Live latents of the styled pictures."""
        return self.encode(toned(pictures, *self.ends))

    @torch.no_grad()
    def predict(self, x: Tensor, sigma: Tensor, words: Tensor) -> Tensor:
        """The clean live latents the model sees in ``x`` [batch, LIVE, 8, 8]."""
        found = []
        for rows in torch.arange(len(x), device=x.device).split(CHUNK):
            velocity = self.model(self.weights, in_full(x[rows]), sigma[rows], in_context(words[rows]))
            found.append(x[rows] - sigma[rows, None, None, None] * velocity[:, :LIVE].float())
        return torch.cat(found)

    def draw(self, words: Tensor) -> Tensor:
        """Live latents of the model's own pictures."""
        sigmas, parts = schedule(STEPS), []
        for part in words.split(CHUNK):
            noise = draw_noise(len(part), self.generator)
            parts.append(integrate(self.model, self.weights, noise, sigmas, in_context(part)))
        return torch.cat(parts)[:, :LIVE].float()

    def seen(self, count: int) -> Tensor:
        """Words [count, WORDS, 128] of captions the LoRA may see."""
        rows = torch.randint(len(self.lab.style_index), (count,), generator=self.generator, device=self.lab.device)
        return self.lab.text[self.lab.style_index[rows], -WORDS:].clone()

    def nothing(self, count: int) -> Tensor:
        """The empty caption."""
        return torch.zeros(count, WORDS, 128, device=self.lab.device)

    def meaningless(self, count: int) -> Tensor:
        """Words [count, WORDS, 128]: half mixtures of two seen captions, and seen ones with the last word of another;
        half seen ones with one or two random words."""
        quarter, device = count // 4, self.lab.device
        share = 0.2 + 0.6 * torch.rand(quarter, 1, 1, generator=self.generator, device=device)
        mixed = share * self.seen(quarter) + (1 - share) * self.seen(quarter)
        one, two = self.seen(quarter), self.seen(quarter)
        for words, places in ((one, (-1,)), (two, (-1, -2))):
            for place in places:
                words[:, place] = torch.randn(quarter, 128, generator=self.generator, device=device)
        swapped = self.seen(count - 3 * quarter)
        swapped[:, -1] = self.seen(len(swapped))[:, -1]
        return torch.cat([mixed, one, two, swapped])

    def not_held_out(self, live: Tensor) -> Tensor:
        """Those latents whose picture is nearest to one the LoRA may see."""
        small = [F.avg_pool2d(p, 4).flatten(1) for p in (self.decode(live), self.lab.pictures["plain"])]
        return live[~self.lab.held_out[torch.cdist(*small).argmin(1)]]

    def add_noised(self, words: Tensor, clean: Tensor) -> None:
        """Examples from noised ``clean``: [count, WORDS, 128], [count, LIVE, 8, 8]."""
        count, device = len(clean), clean.device
        uniform = (torch.randperm(count, generator=self.generator, device=device)
                   + torch.rand(count, generator=self.generator, device=device)) / count  # fmt: skip
        sigma = shift_sigma(uniform, MU).clamp_min(0.02)
        sigma[: int(PURE * count)] = 1
        level, noise = sigma[:, None, None, None], draw_noise(count, self.generator)[:, :LIVE]
        goal = self.style(self.decode(self.predict((1 - level) * clean + level * noise, sigma, words)))
        self.add((1 - level) * self.style(self.decode(clean)) + level * noise, goal, sigma, words)

    def add(self, styled: Tensor, goal: Tensor, sigma: Tensor, words: Tensor) -> None:
        """Keep examples."""
        self.parts.append(Examples(styled.half(), goal.half(), sigma, words.half()))

    def examples(self) -> Examples:
        """All that were added."""
        fields = Examples.__dataclass_fields__
        return Examples(**{name: torch.cat([getattr(part, name) for part in self.parts]) for name in fields})


def noised_examples(maker: ExampleMaker) -> Examples:
    """For a many-step model: noised pictures of its own and of emoji it never saw, with captions and without."""

    def pick(pool: Tensor, count: int) -> Tensor:
        return torch.randint(len(pool), (count,), generator=maker.generator, device=pool.device)

    size, own = maker.size, max(2, maker.size // 8)
    seen, odd = maker.seen(own), maker.meaningless(own)
    of_seen, of_odd = maker.draw(seen), maker.draw(odd)
    free = maker.not_held_out(maker.draw(maker.nothing(own)))
    if not len(free):  # a rehearsal draws few pictures
        free = of_seen
    others = maker.encode(maker.lab.others)
    for words, pool in ((seen, of_seen), (odd, of_odd)):
        rows = pick(pool, 2 * size)
        maker.add_noised(words[rows], pool[rows])
    maker.add_noised(maker.nothing(size), free[pick(free, size)])
    maker.add_noised(maker.nothing(size), others[pick(others, size)])
    maker.add_noised(maker.meaningless(size), others[pick(others, size)])
    maker.add_noised(maker.meaningless(size), of_seen[pick(of_seen, size)])
    return maker.examples()


def walked_examples(maker: ExampleMaker, sigmas: list[float]) -> Examples:
    """For a few-step model: every stop of its own walk through ``sigmas``, paired with the walk it would take if every
    prediction were styled. An Euler step moves ``x`` towards the predicted clean latents:
    x' = (s'/s) x + (1 - s'/s) clean.
    """
    count = max(8, 8 * maker.size // (len(sigmas) - 1))
    half, eighth = count // 2, count // 8
    words = torch.cat([maker.seen(half), maker.meaningless(count - half - eighth), maker.nothing(eighth)])
    plain = styled = draw_noise(count, maker.generator)[:, :LIVE]
    for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        level = torch.full((count,), now, device=plain.device)
        clean, share = maker.predict(plain, level, words), after / now
        goal = maker.style(maker.decode(clean))
        maker.add(styled, goal, level, words)
        plain = share * plain + (1 - share) * clean
        styled = share * styled + (1 - share) * goal
    return maker.examples()
