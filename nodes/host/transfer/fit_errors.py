"""How far the outputs of candidates lie from what is wanted, scene by scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from ...core.transfer.fit_report import (
    PLAIN,
    Candidate,
)
from ...core.transfer.least_squares import Normal, interval
from ...core.transfer.profile import ProbeId
from .probes import Probes
from .strength_lab import (
    Outputs,
    difference,
    scenes_of,
)


class Judge:
    """Held-out errors of candidates, paired scene by scene with plain 1.0."""

    def __init__(self, held: Probes, wanted: Outputs, plain: Outputs) -> None:
        self._held, self._wanted, self._plain = held, wanted, plain
        self._at_one: Outputs = {}
        self._base: tuple[float, ...] = ()

    def of(self, name: str, strengths: dict[str, float], seen: Outputs, training_error: float | None) -> Candidate:
        """A candidate by what the model returned with it; plain 1.0 comes first."""
        errors = tuple(scene_errors(difference(seen, self._plain), self._wanted))
        if name == PLAIN:
            self._base, self._at_one = errors, seen
        gains = [one - other for one, other in zip(self._base, errors, strict=True)]
        return Candidate(name, strengths, errors, interval(errors), interval(gains), training_error)

    def floor(self, again: Outputs) -> float:
        """How far two runs of the same set-up are apart, in units of the wanted change."""
        noise = difference(again, self._at_one)
        return max(scene_sizes(noise, {probe: self._wanted[probe] for probe in noise}))


def around_one(normal: Normal, strengths: Mapping[str, float], columns: list[torch.Tensor]) -> Normal:
    """Equations for the distance from 1, of a Jacobian that was taken at ``strengths``."""
    offset = torch.tensor([value - 1 for value in strengths.values()], dtype=torch.float64)
    if not bool(offset.any()):
        return normal
    moment = normal.moment + normal.gram @ offset
    residual = normal.residual + 2 * float(normal.moment @ offset) + float(offset @ normal.gram @ offset)
    return replace(normal, moment=moment, residual=residual)


def level_weights(wanted: Outputs) -> dict[int, float]:
    """Weight of each noise level, so that all count the same: one over the mean squared size of the wanted change."""
    sizes: dict[int, list[float]] = {}
    for (_, _, step), value in wanted.items():
        sizes.setdefault(step, []).append(float(value.double().square().sum()))
    means = {step: sum(values) / len(values) for step, values in sizes.items()}
    return {step: 1 / mean if mean > 0 else 0.0 for step, mean in means.items()}


def join(values: Outputs, probes: list[ProbeId], weights: Mapping[int, float]) -> torch.Tensor:
    """The outputs of one scene as one vector, each level times the root of its weight."""
    return torch.cat([values[probe].reshape(-1).double() * weights[probe[2]] ** 0.5 for probe in probes])


def scene_errors(change: Outputs, wanted: Outputs) -> list[float]:
    """``|wanted - change| / |wanted|`` of each scene, all noise levels counting the same."""
    return scene_sizes(difference(wanted, change), wanted)


def scene_sizes(values: Outputs, wanted: Outputs) -> list[float]:
    """``|values| / |wanted|`` of each scene, all noise levels counting the same."""
    weights = level_weights(wanted)
    found: list[float] = []
    for probes in scenes_of(wanted).values():
        target = float(join(wanted, probes, weights).square().sum())
        found.append((float(join(values, probes, weights).square().sum()) / target) ** 0.5 if target else 0.0)
    return found
