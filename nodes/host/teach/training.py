"""Trains the factors of a student in rounds: walk, ask the teacher, learn, judge on prompts that were held out."""

# pyright: reportPrivateImportUsage=false
# PyTorch has no public names for its operations on lists of tensors.
from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ...core.files.writer import TensorWriter, metadata_size
from ...core.transfer.teaching import AVERAGE, learning_rate
from .batches import Evaluator, batch_size
from .examples import Examples, Prompts, Teacher
from .judging import Judge
from .student import Student

_BETAS, _EPSILON = (0.9, 0.98), 1e-8


@dataclass(frozen=True)
class Course:
    """How long and how fast."""

    steps: int
    rounds: int
    scenes: int
    """Walks in each round."""
    batch: int
    rate: float
    """The largest learning rate."""
    seed: int
    decay: float = 0.0
    """Weight decay of AdamW (Loshchilov and Hutter 2019), towards the start."""
    least_gain: float = 0.0
    """Part of the squared held-out error that a round has to bring, or it is taken back."""
    patience: int = 0
    """After so many rounds in a row that were taken back it ends; 0: never."""


@dataclass
class State:
    """Everything that a resumed run needs, at the end of a round."""

    round: int
    step: int
    start: list[Tensor]
    """The factors before the first step."""
    values: list[Tensor]
    mean: list[Tensor]
    """Running mean of the factors."""
    first: list[Tensor]
    second: list[Tensor]
    best: list[Tensor]
    best_error: float
    curve: list[float] = field(default_factory=list[float])
    """Held-out error, before the first round and after each."""
    slowed: float = 1.0
    """Times the learning rate: a round that brings too little is taken back, and the next ones go half as fast."""
    fruitless: int = 0
    """How many rounds in a row were taken back."""

    def lists(self) -> dict[str, list[Tensor]]:
        """The tensors by name."""
        return {name: getattr(self, name) for name in ("start", "values", "mean", "first", "second", "best")}


def train(
    student: Student,
    teacher: Teacher,
    prompts: Prompts,
    course: Course,
    judge: Judge,
    checkpoint: Path | None = None,
    learned: Callable[[int, float], None] = lambda step, error: None,
    go_on: Callable[[], bool] = lambda: True,
) -> State:
    """Train the factors, and leave the best ones in the student.

    Args:
        checkpoint: Where a run that is broken off goes on; written after each round.
        go_on: Asked before every round.
        learned: Called after every step with the number of steps and the latest held-out error.
    """
    student.to_device()
    state = _resumed(checkpoint, student)
    if state is None:
        zeros = [torch.zeros_like(value) for value in student.values()]
        start = student.values()
        error = judge.student().square_mean
        state = State(0, 0, start, start, start, zeros, [z.clone() for z in zeros], start, error, [error])
    while state.round < course.rounds and not 0 < course.patience <= state.fruitless and go_on():
        state = _round(student, teacher, prompts, course, state, judge, learned)
        if checkpoint is not None:
            _save(checkpoint, state)
    student.load(state.best)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return state


def _round(
    student: Student, teacher: Teacher, prompts: Prompts, course: Course, state: State, judge: Judge,
    learned: Callable[[int, float], None],
) -> State:  # fmt: skip
    with student.holding(state.mean):
        seed = course.seed + 1000 * (state.round + 1)
        examples = teacher.examples(prompts.taught, course.scenes, seed, of_student=state.round > 0)
    student.load(state.values)
    until = round(course.steps * (state.round + 1) / course.rounds)
    optimiser = Adam(student.parameters, state.first, state.second, state.start, course.decay)
    mean = [value.clone() for value in state.mean]
    generator = torch.Generator().manual_seed(seed + 1)

    def learn(evaluator: Evaluator) -> None:
        order = torch.empty(0, dtype=torch.long)
        for step in range(state.step, until):
            if len(order) < course.batch:
                order = torch.cat((order, torch.randperm(len(examples), generator=generator)))
            rows, order = order[: course.batch], order[course.batch :]
            loss_of(student, evaluator, examples, rows)
            optimiser.step(step + 1, state.slowed * learning_rate(step, course.steps, course.rate))
            keep = min(AVERAGE, (1 + step) / (10 + step))
            torch._foreach_lerp_(mean, [value.detach() for value in student.parameters], 1 - keep)
            learned(step + 1, state.curve[-1])

    with torch.inference_mode(False), torch.enable_grad():
        student.inside(prompts.target, teacher.lesson.latent, learn)
    values = student.values()
    with student.holding(mean):
        error = judge.student().square_mean
    logging.info("LoRA Patchbay: %d of %d steps, held-out error %.4f", until, course.steps, error**0.5)
    best, best_error, slowed, fruitless = mean, error, state.slowed, 0
    if error >= (1 - course.least_gain) * state.best_error:
        best, best_error, slowed, fruitless = state.best, state.best_error, state.slowed / 2, state.fruitless + 1
        values, mean = ([value.clone() for value in best] for _ in range(2))
    return State(
        state.round + 1, until, state.start, values, mean, optimiser.first, optimiser.second, [b.clone() for b in best],
        best_error, [*state.curve, error], slowed, fruitless,
    )  # fmt: skip


def loss_of(student: Student, evaluator: Evaluator, examples: Examples, rows: Tensor) -> float:
    """Add the gradients of one batch to the factors, in parts that fit.

    The squared error of the derivative, weighted by the noise level: by what is left of the picture alone, low noise
    would count for nothing, by the derivative alone for too much.
    """
    device = student.patcher.load_device
    size = max(1, batch_size(examples.x) // 2)
    total = 0.0
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        x, want = examples.x[part].to(device), examples.want[part].to(device)
        sigma = examples.sigma[part].to(device)
        got = evaluator.velocity(x, sigma, examples.prompt[part].tolist())
        error = (got.float() - want).square().flatten(1).mean(1)
        loss = (error * sigma).sum() / len(rows)
        loss.backward()
        total += float(loss.detach())
    return total


class Adam:
    """AdamW that pulls towards the start instead of zero; its state is lists of tensors, so no pickle is needed."""

    def __init__(self, parameters: Sequence[Tensor], first: list[Tensor], second: list[Tensor],
                 start: list[Tensor], decay: float) -> None:  # fmt: skip
        self._parameters, self._decay = parameters, decay
        self.first, self.second = [m.clone() for m in first], [v.clone() for v in second]
        self._start = start

    @torch.no_grad()
    def step(self, number: int, rate: float) -> None:
        """One update; ``number`` counts from 1."""
        one, two = _BETAS
        size = rate / (1 - one**number)
        root = (1 - two**number) ** 0.5
        rows = [i for i, tensor in enumerate(self._parameters) if tensor.grad is not None]
        tensors, first, second, start = (
            [values[i] for i in rows] for values in (self._parameters, self.first, self.second, self._start)
        )
        gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]
        torch._foreach_lerp_(first, gradients, 1 - one)
        torch._foreach_mul_(second, two)
        torch._foreach_addcmul_(second, gradients, gradients, value=1 - two)
        torch._foreach_lerp_(tensors, start, rate * self._decay)
        sizes = torch._foreach_sqrt(second)
        torch._foreach_div_(sizes, root)
        torch._foreach_add_(sizes, _EPSILON)
        torch._foreach_addcdiv_(tensors, first, sizes, value=-size)
        for tensor in tensors:
            tensor.grad = None


# --- a run that goes on -------------------------------------------------------------------------------


def checkpoint_path(folder: Path, parts: Sequence[object]) -> Path:
    """The file of a run, by everything that the run depends on."""
    return folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}.safetensors"


def _save(path: Path, state: State) -> None:
    tensors = {f"{name}.{i}": value for name, values in state.lists().items() for i, value in enumerate(values)}
    numbers = {"round": state.round, "step": state.step, "best_error": state.best_error, "curve": state.curve,
               "slowed": state.slowed, "fruitless": state.fruitless}  # fmt: skip
    metadata = {"patchbay.teach": json.dumps(numbers)}
    with TensorWriter(path, tensors, metadata_size(metadata)) as writer:
        for key, value in tensors.items():
            writer.add(key, value.cpu())
        writer.finish(metadata)


def _resumed(path: Path | None, student: Student) -> State | None:
    """The state of a run that was broken off; ``None`` where there is none for factors of these shapes."""
    if path is None or not os.path.exists(path):
        return None
    own = student.values()
    with safe_open(str(path), "pt") as file:
        numbers: dict[str, Any] = json.loads((file.metadata() or {}).get("patchbay.teach", "{}"))
        names = set(file.keys())
        if len(names) != 6 * len(own) or not numbers:
            return None
        lists: dict[str, Any] = {
            name: [file.get_tensor(f"{name}.{i}").to(value.device) for i, value in enumerate(own)]
            for name in ("start", "values", "mean", "first", "second", "best")
        }
    if any(a.shape != b.shape for a, b in zip(lists["values"], own, strict=True)):
        return None
    return State(**numbers, **lists)
