"""How much guidance a model has built in, measured: the CFG at which another model's output meets its own.

A few-step model is often distilled from a base *with* its classifier-free guidance, and then is used without. What a
LoRA does on the base must be compared at that guidance, and how much of it the student took over is not on its label.
It need not be assumed: the guided output ``negative + cfg (positive - negative)`` is linear in ``cfg``, so the one that
meets the student's output best, on the same noisy latents and without the LoRA, is a quotient of two sums.

It is taken for every noise level on its own, because a few-step model takes over less of it where little is left to
decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import PatchbayError
from .least_squares import interval
from .profile import FeatureRecord, ProbeId

LARGEST = 30.0
"""A built-in guidance is taken to lie between 1, none at all, and this."""

_HOLD = 0.03
"""Where prompt and negative prompt differ by less than this share of the output, a level's own figure would be noise:
it is held at that of all levels together."""

Outputs = Mapping[ProbeId, Tensor]


@dataclass(frozen=True)
class Guidance:
    """The guidance that the reference is compared at, and what was measured."""

    cfg: float
    """The best one over all noise levels."""
    low: float
    high: float
    """95 % interval of it over the scenes (prompts and noises)."""
    levels: tuple[float, ...]
    """The best one at each noise level."""
    distance: float
    """``|target - reference| / |target|`` of the outputs without the LoRA, the reference at ``levels``."""
    distance_unguided: float
    """The same with the reference at CFG 1."""
    scenes: int
    given: float | None = None
    """What the user set instead."""

    @property
    def used(self) -> tuple[float, ...]:
        """The CFG that the reference is compared at, by noise level."""
        return self.levels if self.given is None else (self.given,) * len(self.levels)


@dataclass
class _Sums:
    """Of one scene or one noise level, with ``d = positive - negative`` and ``r = target - positive``."""

    moment: float = 0.0
    """``r . d``"""
    size: float = 0.0
    """``d . d``"""
    rest: float = 0.0
    """``r . r``"""
    target: float = 0.0

    def add(self, target: Tensor, positive: Tensor, negative: Tensor) -> None:
        rest, along = (target - positive).double(), (positive - negative).double()
        self.moment += float((rest * along).sum())
        self.size += float(along.square().sum())
        self.rest += float(rest.square().sum())
        self.target += float(target.double().square().sum())

    def cfg(self, towards: float = 1.0, hold: float = 0.0) -> float:
        """Least squares, not less than 1; ``towards`` where the two prompts do the same."""
        ridge = hold**2 * self.target
        if self.size + ridge <= 0:
            return towards
        return min(max(1 + (self.moment + ridge * (towards - 1)) / (self.size + ridge), 1.0), LARGEST)

    def left(self, cfg: float) -> float:
        """``|target - guided|^2``"""
        return max(self.rest - 2 * (cfg - 1) * self.moment + (cfg - 1) ** 2 * self.size, 0.0)


def measure_guidance(target: Outputs, positive: Outputs, negative: Outputs, given: float | None = None) -> Guidance:
    """The guidance of the reference that meets the target's output best.

    Args:
        target: The target's output for each prompt, without guidance and without the LoRA.
        positive: The reference's output for the same prompt on the same noisy latents, without the LoRA.
        negative: The reference's output for the negative prompt there.
        given: A guidance that is used in any case; what was measured is kept beside it.
    """
    levels: dict[int, _Sums] = {}
    scenes: dict[tuple[int, int], _Sums] = {}
    whole = _Sums()
    for probe in sorted(target):
        values = target[probe], positive[probe], negative[probe]
        for sums in (levels.setdefault(probe[2], _Sums()), scenes.setdefault(probe[:2], _Sums()), whole):
            sums.add(*values)
    found = interval([sums.cfg() for sums in scenes.values()])
    ordered = [levels[step] for step in sorted(levels)]
    best = tuple(sums.cfg(whole.cfg(), _HOLD) for sums in ordered)
    left = sum(sums.left(cfg) for sums, cfg in zip(ordered, best, strict=True))
    return Guidance(
        whole.cfg(), found.low, found.high, best, _ratio(left, whole.target), _ratio(whole.rest, whole.target),
        len(scenes), given,
    )  # fmt: skip


def guided(positive: Outputs, negative: Outputs | None, guidance: Guidance | None) -> dict[ProbeId, Tensor]:
    """``negative + cfg (positive - negative)`` at every probe; the positive alone without guidance."""
    if guidance is None or negative is None:
        return dict(positive)
    used = guidance.used
    return {probe: negative[probe] + used[probe[2]] * (value - negative[probe]) for probe, value in positive.items()}


def guided_record(positive: FeatureRecord, negative: FeatureRecord, guidance: Guidance) -> FeatureRecord:
    """The record of the guided output. Random projections are linear, so it needs no further evaluation.

    Sizes are those of the projections; channel statistics and histogram stay those of the positive prompt.
    """
    sketches = guided(positive.sketches, negative.sketches, guidance)
    squares = {probe: float(sketch.double().square().sum()) for probe, sketch in sketches.items()}
    return FeatureRecord(positive.moments, positive.histogram, sketches, squares)


def guidance_note(guidance: Guidance | None, given: float | None = None) -> str:
    """What the report says about it."""
    if guidance is None and given is not None:
        return "The reference is compared without guidance (CFG 1), as set."
    if guidance is None:
        why = "The reference is compared without guidance (CFG 1): no negative prompt is connected."
        return f"{why} {_CONNECT}"
    span = f"{guidance.low:.3g} to {guidance.high:.3g}" if math.isfinite(guidance.low) else "one scene, no interval"
    levels = ", ".join(f"{cfg:.2f}" for cfg in guidance.levels)
    if guidance.given is not None:
        said = f"The reference is compared at CFG {guidance.given:g}, as set."
        return f"{said} " + f"Measured, it would be {guidance.cfg:.2f} ({span}); by noise level {levels}."
    found = (
        f"Guidance measured: without the LoRA, the reference's output meets this model's best at CFG "
        f"{guidance.cfg:.2f} ({span}); by noise level {levels}."
    )
    there, unguided = 100 * guidance.distance, 100 * guidance.distance_unguided
    return f"{found} " + f"There it is {there:.3g} % away; at CFG 1, {unguided:.3g} %."


_CONNECT = "If it is used with CFG, connect one, and the guidance that this model has built in is measured."


def _ratio(square: float, of: float) -> float:
    return math.sqrt(square / of) if of > 0 else 0.0


def needs_negative(reference_cfg: float) -> bool:
    """Whether a negative prompt has a part at this setting: 0 measures the guidance, 1 is none."""
    return reference_cfg != 1.0


def check_reference_cfg(reference_cfg: float, has_negative: bool) -> None:
    """Refuse what is no guidance.

    Raises:
        PatchbayError: a value between 0 and 1, or guidance without a prompt to guide away from.
    """
    if 0 < reference_cfg < 1 or reference_cfg < 0:
        raise PatchbayError(
            f"reference_cfg is {reference_cfg:g}: expected 0, which measures it, or a CFG of 1 or more."
        )
    if reference_cfg > 1 and not has_negative:
        raise PatchbayError(
            f"reference_cfg is {reference_cfg:g}, but no negative prompt is connected. Connect one, or set it to 1."
        )
