"""Strengths by least squares: one Gauss-Newton step of the model's output around strength 1, with ridge and bounds.

With the outputs ``v(s)`` of the target model at group strengths ``s``, the wanted change ``t`` and the Jacobian ``J``
at ``s = 1``, the step minimises ``|t - (v(1) - v(0)) - J d|^2 + ridge |d|^2``. All sums are in float64; of the outputs
only the normal equations of each scene are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..measure.stats import t95

RIDGES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Ridges that are tried, in units of the mean diagonal of ``J^T J``."""


@dataclass(frozen=True)
class Normal:
    """The normal equations of one scene (a prompt with a noise), summed over its noise levels."""

    gram: Tensor
    """``J^T J`` [groups, groups], float64."""
    moment: Tensor
    """``J^T r`` [groups], float64, ``r`` what is missing at strength 1."""
    residual: float
    """``|r|^2``."""
    target: float
    """``|t|^2``."""

    def error(self, step: Tensor) -> float:
        """Predicted ``|r - J d|^2 / |t|^2``."""
        left = self.residual - 2 * float(self.moment @ step) + float(step @ self.gram @ step)
        return max(left, 0.0) / self.target if self.target else math.nan


def normal_equations(columns: Sequence[Tensor], missing: Tensor, wanted: Tensor) -> Normal:
    """The normal equations of one scene.

    Args:
        columns: The derivative of the output by each group's strength, any shape.
        missing: Wanted change less the change at strength 1, of the same shape.
        wanted: The wanted change.
    """
    jacobian = torch.stack([column.reshape(-1).double() for column in columns])
    rest, target = missing.reshape(-1).double(), wanted.reshape(-1).double()
    return Normal(jacobian @ jacobian.T, jacobian @ rest, float(rest @ rest), float(target @ target))


def add(normals: Sequence[Normal]) -> Normal:
    """One set of equations for several scenes, each counting the same however large its target is."""
    weights = [1 / normal.target if normal.target else 0.0 for normal in normals]
    pairs = list(zip(weights, normals, strict=True))
    return Normal(
        torch.stack([w * n.gram for w, n in pairs]).sum(0),
        torch.stack([w * n.moment for w, n in pairs]).sum(0),
        sum(w * n.residual for w, n in pairs),
        float(sum(1 for w in weights if w)),
    )


def solve(normals: Sequence[Normal], ridge: float, low: float, high: float) -> Tensor:
    """The step [groups] for all scenes together, with ``low <= 1 + step <= high``.

    Args:
        ridge: In units of the mean diagonal of the summed ``J^T J``.
    """
    total = add(normals)
    groups = total.moment.numel()
    scale = float(total.gram.diagonal().mean()) or 1.0
    matrix = total.gram + ridge * scale * torch.eye(groups, dtype=torch.float64)
    step = torch.linalg.solve(matrix, total.moment).clamp(low - 1, high - 1)
    for _ in range(500):  # coordinate descent: exact for a convex quadratic in a box
        before = step.clone()
        for index in range(groups):
            pull = total.moment[index] - matrix[index] @ step + matrix[index, index] * step[index]
            step[index] = (pull / matrix[index, index]).clamp(low - 1, high - 1)
        if float((step - before).abs().max()) < 1e-10:
            break
    return step


def choose_ridge(normals: Sequence[Normal], folds: Sequence[int], low: float, high: float) -> float:
    """The ridge with the smallest predicted error on folds that were left out; the largest where there is one fold.

    Args:
        folds: Fold of each scene, usually its prompt.
    """
    names = sorted(set(folds))
    if len(names) < 2:
        return max(RIDGES)
    errors: dict[float, float] = {}
    for ridge in RIDGES:
        total = 0.0
        for name in names:
            inside = [n for n, fold in zip(normals, folds, strict=True) if fold != name]
            outside = [n for n, fold in zip(normals, folds, strict=True) if fold == name]
            step = solve(inside, ridge, low, high)
            total += sum(normal.error(step) for normal in outside)
        errors[ridge] = total
    return min(errors, key=lambda ridge: (errors[ridge], -ridge))


def parabola_minimum(points: Sequence[tuple[float, float]], low: float, high: float) -> float:
    """Minimum of the parabola through the lowest of ``points`` (strength, error) and its neighbours."""
    ordered = sorted(points)
    best = min(range(len(ordered)), key=lambda i: ordered[i][1])
    if best in (0, len(ordered) - 1):
        return min(max(ordered[best][0], low), high)
    (x0, y0), (x1, y1), (x2, y2) = ordered[best - 1 : best + 2]
    top = (x1 - x0) ** 2 * (y1 - y2) - (x1 - x2) ** 2 * (y1 - y0)
    bottom = (x1 - x0) * (y1 - y2) - (x1 - x2) * (y1 - y0)
    found = x1 - 0.5 * top / bottom if bottom else x1
    return min(max(found, low, x0), high, x2)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    count: int
    """Number of units behind it."""


def interval(values: Sequence[float]) -> Interval:
    """Mean and Student's 95 % interval; a single value has an interval without end."""
    count = len(values)
    if not count:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = t95(count - 1) * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)
