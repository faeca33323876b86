"""More prompts from few: mixtures of two, so that a LoRA is not learned for the given prompts by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..transfer.probes import Conditioning

_LEAST, _SPAN = 0.2, 0.6
"""Shares of the first of the two lie between 0.2 and 0.8."""
_MOST = 128


@dataclass(frozen=True)
class Mixture:
    """What a prompt is mixed of."""

    one: int
    two: int
    share: float
    """Of the first."""


def with_mixtures(
    which: Sequence[int], target: Conditioning, reference: Conditioning, seed: int
) -> tuple[dict[int, Mixture], Conditioning, Conditioning]:
    """As many mixtures as there are prompts to learn from, behind all others.

    Only prompts of one shape and without anything besides can be mixed; the two models get the same mixtures.

    Returns:
        The mixtures by their numbers, and the prompts of both models.
    """
    generator = torch.Generator().manual_seed(seed)
    target, reference, mixed = list(target), list(reference), dict[int, Mixture]()
    for _ in range(min(len(which), _MOST)):
        one, two = (which[int(torch.randint(len(which), (1,), generator=generator))] for _ in range(2))
        share = _LEAST + _SPAN * float(torch.rand(1, generator=generator))
        for_target, for_reference = (_mixture(side[one], side[two], share) for side in (target, reference))
        if one == two or for_target is None or for_reference is None:
            continue
        mixed[len(target)] = Mixture(one, two, share)
        target.append(for_target)
        reference.append(for_reference)
    return mixed, target, reference


def _mixture(one: list[Any], two: list[Any], share: float) -> list[Any] | None:
    if not all(isinstance(entry[0], Tensor) for entry in (one, two)) or one[0].shape != two[0].shape:
        return None
    extra: dict[str, Any] = {}
    for name in one[1].keys() | two[1].keys():
        a, b = one[1].get(name), two[1].get(name)
        if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.is_floating_point():
            extra[name] = torch.lerp(b, a, share)
        elif a is not b and not (isinstance(a, (int, float, str)) and a == b):
            return None
        else:
            extra[name] = a
    return [torch.lerp(two[0], one[0], share), extra]
