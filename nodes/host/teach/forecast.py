"""Says before the first step how long teaching takes and what memory it needs, from one step that is thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..transfer.probes import Conditioning
from .batches import Evaluator, batch_size
from .recompute import Kept
from .student import Student

_COPIES = 9
"""Of the factors: gradients, the two means of the optimiser, the start, the running mean, the best, and others."""


@dataclass(frozen=True)
class Forecast:
    """What is to come."""

    seconds: float
    memory: int
    """Bytes besides the two models: the copy of one, the factors, what a step keeps, the examples."""


def forecast(
    student: Student, prompts: Conditioning, latent: torch.Tensor, steps: int, batch: int, rows: int
) -> Forecast:
    """Evaluate and differentiate one batch of noise, on the student as it is; nothing of it stays.

    Args:
        rows: Evaluations without gradients that the run makes.
    """
    generator = torch.Generator().manual_seed(0)
    many = max(1, min(batch, batch_size(latent) // 2))
    noise = torch.randn(many, *latent.shape[1:], generator=generator)
    student.kept = Kept()

    def probe(evaluator: Evaluator) -> tuple[float, float]:
        device = student.patcher.load_device
        x, sigma = noise.to(device), torch.full((many,), 0.5, device=device)
        evaluator.velocities(x, sigma, [0] * many)  # the first one also loads and chooses kernels
        plain = _timed(lambda: evaluator.velocities(x, sigma, [0] * many), device)

        def learn() -> None:
            evaluator.velocity(x, sigma, [0] * many).float().square().mean().backward()

        return plain / many, _timed(learn, device) / many

    with torch.inference_mode(False), torch.enable_grad():
        plain, learned = student.inside(prompts, latent, probe)
    kept, student.kept = student.kept.peak, Kept()
    for tensor in student.parameters:
        tensor.grad = None
    factors = sum(tensor.numel() * tensor.element_size() for tensor in student.parameters)
    examples = rows * latent[0].numel() * 4
    memory = student.patcher.model_size() + _COPIES * factors + kept + examples
    return Forecast(rows * plain + steps * batch * learned, memory)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun
