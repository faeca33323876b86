"""Refits the up factor of a LoRA layer by least squares; the down factor, and so the rank, stays.

With inputs ``x`` the layer adds ``scale * up @ (down @ x)``. Given what its output should have gained besides, ``e``,
the new factor minimises ``sum |e - scale * d_up @ (down @ x)|^2 + ridge |d_up|^2``: a rank x rank system in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

RIDGE = 1.0
"""In units of the mean diagonal of the Gram matrix of ``down @ x``."""


@dataclass
class FactorSums:
    """Streaming sums of one layer."""

    gram: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))
    """[rank, rank], ``sum z z^T`` with ``z = down @ x``."""
    moment: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))
    """[out, rank], ``sum e z^T``."""

    def add(self, down: Tensor, inputs: Tensor, missing: Tensor) -> None:
        """Take in samples.

        Args:
            down: [rank, in].
            inputs: [samples, in].
            missing: [samples, out].
        """
        z = inputs.double() @ down.double().T
        gram, moment = z.T @ z, missing.double().T @ z
        self.gram = gram if not self.gram.numel() else self.gram + gram
        self.moment = moment if not self.moment.numel() else self.moment + moment

    def step(self, scale: float, ridge: float = RIDGE) -> Tensor:
        """What to add to the up factor [out, rank], float64; zero where nothing was seen."""
        size = float(self.gram.diagonal().mean()) if self.gram.numel() else 0.0
        if size <= 0 or scale == 0:
            return torch.zeros_like(self.moment)
        matrix = self.gram + ridge * size * torch.eye(len(self.gram), dtype=torch.float64)
        return torch.linalg.solve(matrix, self.moment.T).T / scale


def sample_rows(count: int, budget: int) -> Tensor:
    """Evenly spaced row numbers, at most ``budget`` of ``count``; the same every time."""
    if count <= budget:
        return torch.arange(count)
    return torch.linspace(0, count - 1, budget, dtype=torch.float64).round().long()
