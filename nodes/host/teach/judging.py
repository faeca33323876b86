"""Judges ways to use a LoRA on the target, on walks of prompts that nothing was learned from."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...core.transfer.teach_report import TAUGHT
from ...core.transfer.teaching import Held
from .batches import Evaluator, inside
from .examples import Examples, Prompts, evaluate_rows
from .student import Student


class Judge:
    """The held-out walks, with what the teacher does there and what the target does without a LoRA."""

    def __init__(self, student: Student, prompts: Prompts, held: Examples) -> None:
        self._student, self._prompts, self._held = student, prompts, held
        with student.plain():
            self._without = student.inside(prompts.target, held.x[:1], self._outputs)

    def student(self) -> Held:
        """The student with its factors as they are."""
        return self._held_of(TAUGHT, self._student.inside(self._prompts.target, self._held.x[:1], self._outputs))

    def model(self, name: str, patched: Any) -> Held:
        """Another way: a target with something applied to it."""
        return self._held_of(name, inside(patched, self._prompts.target, self._held.x[:1], self._outputs))

    def _outputs(self, evaluator: Evaluator) -> Tensor:
        held = self._held
        device = self._student.patcher.load_device
        return evaluate_rows(evaluator, held.x, held.sigma, held.prompt.tolist(), device)

    def _held_of(self, name: str, got: Tensor) -> Held:
        held = self._held
        errors: list[float] = []
        for scene in dict.fromkeys(held.scene.tolist()):
            rows = held.scene == scene
            missed = _size(held.want[rows] - got[rows]) / _size(held.want[rows] - self._without[rows]).clamp_min(1e-20)
            errors.append(float(missed.mean()))
        return Held(name, tuple(errors))


def _size(values: Tensor) -> Tensor:
    """[rows] squared sizes."""
    return values.double().square().flatten(1).sum(1)
