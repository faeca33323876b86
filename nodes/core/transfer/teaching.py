"""How a LoRA is taught to another model: noise levels, a mixture of two teachers, how fast, and when it counts.

Two teachers are possible. *Delta* is the target's own output plus what the LoRA changes on the reference; *full* is the
reference's output with the LoRA. Delta keeps what the target does differently on purpose. But where a LoRA leads both
models to latents that neither has seen, the target's own output there is no guide any more, and full is better. What
tells the two apart is measured, both models without the LoRA: how much further apart they are on the LoRA's latents
than on their own, and whether they draw the same picture there at all. For a prompt that neither model knows (the
concept that the LoRA brings) each draws something of its own, and delta would add the difference of two pictures to a
third. A model on which nothing of the LoRA lands is no relative of the reference, and is taught by full alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .least_squares import Interval, interval

FEW_STEPS = 8
"""Schedules of at most so many steps are walked as they are, and each step is taught as a whole."""
FROM_ZERO_RATE, FROM_FACTORS_RATE = 4e-3, 1.5e-3
"""Largest learning rate at :data:`RATE_WIDTH` features."""
RATE_WIDTH = 128
SAME_PICTURE, OTHER_PICTURE = 0.05, 0.1
"""Squared distance of two models for one prompt, in squared distances between prompts: where they still draw the same
picture, and from where on they draw another."""
LEAST_GAIN = 0.01
"""Part of the squared held-out error that a round has to bring where the LoRA lands: less is as likely luck with the
held-out walks. From zero most of the error is what the two models differ in, so that any gain counts."""
FRUITLESS_ROUNDS = 2
"""Teaching of a LoRA that lands ends after so many rounds in a row that bring less."""
WARM_UP = 0.03
AVERAGE = 0.98
"""Decay of the running mean of the factors, which is what is judged and kept."""


def walks(levels: int) -> tuple[tuple[int, ...], ...]:
    """Which levels of a schedule one walk stops at, for several walks that together stop at every level.

    >>> walks(4)
    ((0, 1, 2, 3),)
    >>> walks(10)
    ((0, 2, 4, 6, 8), (0, 1, 3, 5, 7, 9))
    """
    if levels <= FEW_STEPS:
        return (tuple(range(levels)),)
    stride = math.ceil(levels / FEW_STEPS)
    return tuple(tuple(sorted({0, *range(start, levels, stride)})) for start in range(stride))


def fractions(count: int) -> tuple[float, ...]:
    """Where the teacher stops inside a step, as shares of it: 0, 1/3, 2/3 for three."""
    return tuple(index / count for index in range(count))


def full_share(own: float, led: float) -> float:
    """The share of the full teacher at a noise level.

    Args:
        own: ``|target - reference|`` without the LoRA on latents of the target's own walk, in sizes of the output.
        led: The same on the latents that the LoRA leads to.

    Returns:
        ``1 - (own / led)^2``, at least 0: the part of the squared distance that the models' own difference does not
        explain.
    """
    return max(0.0, 1.0 - (own / led) ** 2) if led > 0 else 0.0


def own_picture_share(apart: float, spread: float) -> float:
    """The share of the full teacher for one row, by whether the two models draw the same picture there.

    Args:
        apart: ``|target - reference|^2`` without the LoRA.
        spread: Mean ``|target - target with another prompt|^2`` on the same latents at this noise level.

    Returns:
        0 up to :data:`SAME_PICTURE` of the spread, 1 from :data:`OTHER_PICTURE` on, a line between. The two lie between
        what Klein Nano's students come to for prompts that they know and for names that neither model knows
        (``tests/gpu/teach_table.py --only apart-pruned,...``).
    """
    if spread <= 0:
        return 0.0
    return min(1.0, max(0.0, (apart / spread - SAME_PICTURE) / (OTHER_PICTURE - SAME_PICTURE)))


def full_shares(own: Mapping[int, float], led: Mapping[int, float]) -> dict[int, float]:
    """:func:`full_share` by noise level."""
    mean = math.fsum(own.values()) / max(1, len(own))
    return {level: full_share(own.get(level, mean), value) for level, value in led.items()}


def learning_rate(step: int, steps: int, largest: float) -> float:
    """A short warm-up, then half a cosine down to zero; ``step`` counts from 0."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return largest * (step + 1) / warm
    return largest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def largest_rate(width: int, from_zero: bool) -> float:
    """A learning rate for factors beside layers of ``width`` inputs; what exists already moves less."""
    return (FROM_ZERO_RATE if from_zero else FROM_FACTORS_RATE) * math.sqrt(RATE_WIDTH / max(width, 1))


def held_out(prompts: int) -> tuple[int, ...]:
    """The numbers of the prompts that nothing is learned from: every fourth, at least one of two and at most twelve.

    >>> held_out(2), held_out(8)
    ((1,), (3, 7))
    """
    found = tuple(range(3, prompts, max(4, prompts // 12)))[:12]
    return found or ((prompts - 1,) if prompts > 1 else ())


@dataclass(frozen=True)
class Held:
    """What a way comes to on prompts that nothing was learned from."""

    name: str
    errors: tuple[float, ...]
    """``|wanted - got|^2 / |wanted - without|^2`` of each scene: 0 is the teacher, 1 as without a LoRA."""

    @property
    def square_mean(self) -> float:
        """Mean of the squared errors."""
        return math.fsum(self.errors) / max(1, len(self.errors))

    @property
    def error(self) -> float:
        """Root of the mean."""
        return math.sqrt(self.square_mean)

    def gain_over(self, other: Held) -> Interval:
        """How much lower the squared error is, scene by scene."""
        return interval([theirs - own for own, theirs in zip(self.errors, other.errors, strict=True)])


def is_better(taught: Held, others: Sequence[Held]) -> bool:
    """Whether the taught LoRA beats every other way for certain: the whole interval of each gain is above zero."""
    return all(taught.gain_over(other).low > 0 for other in others)
