"""Few-step students of the base: the shipped one, and a mild, a strong and a pruned one to measure transfer on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from autoencoder import LIVE
from flow import draw_noise, integrate, schedule
from optimise import Params, finish, load_final, train
from torch import Tensor
from transformer import Weights

if TYPE_CHECKING:
    from train import Lab

TEACHER_SIGMAS = schedule(20)


@dataclass(frozen=True)
class Distillation:
    """How a student is made of the base."""

    steps: int
    seconds: float
    rate: float
    """Of the base's learning rate: how far the weights may move."""
    seed: int = 7
    dropped: tuple[int, ...] = ()
    """Single blocks that are left out; those behind them move up."""


STUDENTS = {
    "student": Distillation(steps=4, seconds=200, rate=0.3),
    "mild": Distillation(steps=4, seconds=20, rate=0.03),
    "strong": Distillation(steps=2, seconds=75, rate=1.0, seed=8),
    "pruned": Distillation(steps=4, seconds=60, rate=0.3, seed=9, dropped=(2,)),
}
"""``student`` ships as klein-nano-distilled."""


def cast(params: Params, device: torch.device) -> Weights:
    """The weights in the dtype of the big products; differentiable."""
    return {k: v.bfloat16() if device.type == "cuda" else v for k, v in params.items()}


def prune(weights: Weights, dropped: tuple[int, ...]) -> Weights:
    """Without these single blocks, the others numbered from 0."""
    kept = sorted({int(k.split(".")[1]) for k in weights if k.startswith("single_blocks.")} - set(dropped))
    out = {}
    for key, value in weights.items():
        kind, _, rest = key.partition(".")
        if kind == "single_blocks":
            index, _, rest = rest.partition(".")
            if int(index) in dropped:
                continue
            key = f"single_blocks.{kept.index(int(index))}.{rest}"
        out[key] = value.clone()
    return out


def few_step_input(lab: Lab, weights: Weights, latents: Tensor, text: Tensor, step: int, segment: int, steps: int,
                   generator: torch.Generator) -> Tensor:  # fmt: skip
    """Input of a few-step model at the start of a segment: its own roll-out, or every second step the noised truth."""
    noise, sigmas = draw_noise(len(latents), generator), schedule(steps)
    if step % 2:
        return sigmas[segment] * noise + (1 - sigmas[segment]) * latents
    return integrate(lab.model, weights, noise, sigmas[: segment + 1], text)


def draw_segment(steps: int, generator: torch.Generator) -> int:
    """One of the steps, the last as often as two others."""
    draw = torch.rand(1, generator=generator, device=generator.device).item()
    return min(steps - 1, int(draw * (steps + 1)))


def train_student(lab: Lab, name: str, optimiser: dict, guidance: float) -> None:
    """Distil the guided base into a few steps without guidance, unless that is done.

    Args:
        optimiser: the base's choice, ``{"rate": float, "muon": bool}``.
    """
    if load_final(lab, name) is not None:
        return
    how, teacher = STUDENTS[name], load_final(lab, "base")
    frozen, sigmas = cast(teacher, lab.device), schedule(how.steps)
    latents, text = lab.latents["plain"][lab.base_index], lab.text[lab.base_index]

    def loss(params: Params, step: int, generator: torch.Generator) -> Tensor:
        weights, segment = cast(params, lab.device), draw_segment(how.steps, generator)
        start, end = sigmas[segment], sigmas[segment + 1]
        detached = {k: v.detach() for k, v in weights.items()}
        x = few_step_input(lab, detached, latents, text, step, segment, how.steps, generator)
        inner = [s for s in TEACHER_SIGMAS if end + 0.01 < s < start - 0.01]
        if segment < how.steps - 1:
            inner = inner[:: max(1, len(inner) // 2)][:2]
        target = (x - integrate(lab.model, frozen, x, [start, *inner, end], text, guidance)) / (start - end)
        level = torch.full((len(x),), start, device=lab.device)
        return (lab.model(weights, x, level, text) - target)[:, :LIVE].square().mean()

    weights, record = train(
        prune(teacher, how.dropped), loss, lab.seconds[name], lab.work / f"{name}.pt",
        rate=how.rate * optimiser["rate"], muon_size=128 if optimiser["muon"] else None, pause_after=lab.pause_after,
        max_steps=lab.max_steps, decay=0.999, seed=how.seed, name=name,
    )  # fmt: skip
    finish(lab, name, weights, record)
