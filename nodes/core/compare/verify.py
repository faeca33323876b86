"""Whether a model holds LoRAs, and at which strengths: least squares on the difference to its base, by weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from ..bake.merge_plan import Blend, MergeModel, MergePlan, MergeSource, plan_merge
from ..check.model_weights import ModelWeights
from ..errors import PatchbayError
from ..files.reader import TensorReader
from .changes import file_change
from .least_squares import Measured, measure_weight, solve_strengths
from .replay import Replay, replay_layer

if TYPE_CHECKING:
    from torch import Tensor

_SURE = 5.0
"""Standard errors from 0 that a strength must have to be there."""
_FLOOR = 2.0
"""Times the rounding that a rest may be: rounding at random leaves up to 1.7 times that of rounding to the nearest."""
_ARITHMETIC = 1e-3
"""Share of the change itself that other arithmetic (a product in bfloat16) may differ by: half a step of bfloat16."""
_NOTHING = 1e-4
"""A strength that is none."""
_NEAR = 5e-3
"""Relative distance of a typed strength from the one that was found: rounding takes a little of every change."""
_DECIMALS = 4
"""That a typed strength has at most."""
_AGREE = 0.02
"""Relative difference of one layer's strength from that of all that is still the same strength."""


class Weights(Protocol):
    """The weights of a model by their full keys, from a file or from a program that holds them."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of every weight that is stored whole."""
        ...

    def read(self, key: str) -> Tensor | None:
        """A weight in its own dtype; ``None`` where it is not stored whole."""
        ...


class Verdict(str, Enum):
    """About one LoRA in a checkpoint."""

    VERIFIED = "verified"
    PARTLY = "partly"
    NOT = "not"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class VerifiedLayer:
    """One weight."""

    name: str
    strengths: tuple[float | None, ...]
    """For each LoRA; ``None`` where it does not change the weight."""
    errors: tuple[float | None, ...]
    """Standard errors of the strengths."""
    difference: float
    """``|W - W0|``."""
    rest: float
    """What the LoRAs do not explain."""
    rounding: float
    """What rounding the weight to its dtype leaves by itself."""
    sizes: tuple[float, ...]
    """``|D_i|`` at strength 1."""
    replay: Replay | None = None
    key: str = ""
    """The full key of the weight."""

    @property
    def explained(self) -> bool:
        """Whether nothing but rounding is left."""
        meant = math.sqrt(sum((s or 0.0) ** 2 * size**2 for s, size in zip(self.strengths, self.sizes, strict=True)))
        return self.rest <= _FLOOR * self.rounding + _ARITHMETIC * meant


@dataclass(frozen=True)
class Verification:
    """A checkpoint, its base and some LoRAs."""

    names: tuple[str, ...]
    layers: tuple[VerifiedLayer, ...]
    strengths: tuple[float, ...]
    """Over all weights together."""
    errors: tuple[float, ...]
    verdicts: tuple[Verdict, ...]
    reasons: tuple[str, ...]
    elsewhere: tuple[str, ...]
    """Weights that differ from the base though no LoRA changes them."""
    not_compared: tuple[str, ...]


def verify_checkpoint(
    checkpoint: Weights, base: Weights, sources: Sequence[MergeSource], model: MergeModel
) -> Verification:
    """Look for the LoRAs of ``sources`` in ``checkpoint``, one weight after the other.

    Args:
        model: The base as something that LoRAs can be matched with.

    Raises:
        PatchbayError: a LoRA is not for this model.
        OSError: a file cannot be read.
    """
    plan = plan_merge(sources, model)
    not_compared = list(plan.left_out)
    found: list[tuple[Blend, Measured]] = []
    unseen = [0] * len(sources)
    with ExitStack() as opened:
        readers = [opened.enter_context(TensorReader(source.header)) for source in sources]
        for blend in plan.blends:
            try:
                made = _measure(blend, len(sources), readers, checkpoint, base)
            except PatchbayError as error:
                made = str(error)
            if not isinstance(made, str):
                found.append((blend, made))
                continue
            not_compared.append(f"{blend.name}: {made}")
            for number in {part.source for part in blend.parts if blend.model_key}:
                unseen[number] += 1
        measured = [layer for _, layer in found]
        strengths, errors = solve_strengths(
            [x.gram for x in measured], [x.right for x in measured], [x.rest_square for x in measured],
            [x.count for x in measured],
        )  # fmt: skip
        layers = [_as_layer(blend, layer) for blend, layer in found]
        strengths = tuple(_common(number, layers, strength) for number, strength in enumerate(strengths))
        tried = _typed(strengths, errors)
        layers = [
            replace(made, replay=_again(blend, made, tried, readers, checkpoint, base))
            for (blend, _), made in zip(found, layers, strict=True)
        ]
    elsewhere = tuple(_elsewhere(plan, checkpoint, base))
    judged = [_judge(number, layers, strengths, errors, elsewhere, unseen[number]) for number in range(len(sources))]
    return Verification(
        tuple(source.header.name for source in sources), tuple(layers), strengths, errors,
        tuple(verdict for verdict, _ in judged), tuple(reason for _, reason in judged), elsewhere, tuple(not_compared),
    )  # fmt: skip


def _measure(
    blend: Blend, count: int, readers: Sequence[TensorReader], checkpoint: Weights, base: Weights
) -> Measured | str:
    if not blend.model_key:
        return "belongs to a text encoder, which is not compared"
    merged, own = _slice(checkpoint, blend), _slice(base, blend)
    if merged is None or own is None or merged.shape != own.shape:
        return "its weight is not stored whole in both, or under other names"
    return measure_weight(merged, own, [file_change(blend, number, readers, base.read) for number in range(count)])


def _slice(weights: Weights, blend: Blend) -> Tensor | None:
    weight = weights.read(blend.model_key)
    if weight is None or blend.offset is None:
        return weight
    return weight.narrow(*blend.offset)


def _as_layer(blend: Blend, layer: Measured) -> VerifiedLayer:
    return VerifiedLayer(
        blend.name, layer.strengths, layer.errors, math.sqrt(layer.square), math.sqrt(layer.rest_square),
        layer.rounding, tuple(math.sqrt(max(row[i], 0.0)) for i, row in enumerate(layer.gram)), key=blend.model_key,
    )  # fmt: skip


def _common(number: int, layers: Sequence[VerifiedLayer], pooled: float) -> float:
    """The strength that most of the LoRA agrees on: of all weights together, or of one of them if a part is missing."""
    own = [layer for layer in layers if layer.strengths[number] is not None]
    found = [s for layer in own if (s := layer.strengths[number]) and _tells(layer, number, s)]

    def support(strength: float) -> float:
        return sum(layer.sizes[number] ** 2 for layer in own if _agrees(layer, number, strength))

    return max([pooled, *found], key=lambda strength: (support(strength), strength == pooled))


def _typed(strengths: Sequence[float], errors: Sequence[float]) -> list[list[float]]:
    """The strengths as somebody may have typed them: with few decimals, the fewest that are near enough first."""
    tried: list[list[float]] = []
    for decimals in range(1, _DECIMALS + 1):
        rounded = [round(strength, decimals) for strength in strengths]
        near = all(
            abs(a - b) <= _SURE * error + _NEAR * abs(b) for a, b, error in zip(rounded, strengths, errors, strict=True)
        )
        if near and rounded not in tried:
            tried.append(rounded)
    return tried


def _again(
    blend: Blend, made: VerifiedLayer, tried: Sequence[Sequence[float]], readers: Sequence[TensorReader],
    checkpoint: Weights, base: Weights,
) -> Replay | None:  # fmt: skip
    if not made.explained:
        return None
    merged, own = _slice(checkpoint, blend), _slice(base, blend)
    assert merged is not None
    assert own is not None
    return replay_layer(blend, readers, tried, own, merged, base.read)


def _elsewhere(plan: MergePlan, checkpoint: Weights, base: Weights) -> list[str]:
    touched = {blend.model_key for blend in plan.blends}
    shared = [key for key in base.shapes if key in checkpoint.shapes and key not in touched]
    return [key for key in shared if not _same(checkpoint, base, key)]


def _same(checkpoint: Weights, base: Weights, key: str) -> bool:
    """Whether a weight is the same in both, bit for bit."""
    import torch

    if isinstance(checkpoint, ModelWeights) and isinstance(base, ModelWeights):
        return checkpoint.same_bytes(base, key)
    one, two = checkpoint.read(key), base.read(key)
    if one is None or two is None:
        return False
    return one is two or (one.dtype == two.dtype and torch.equal(one, two))


def _judge(
    number: int, layers: Sequence[VerifiedLayer], strengths: Sequence[float], errors: Sequence[float],
    elsewhere: Sequence[str], unseen: int,
) -> tuple[Verdict, str]:  # fmt: skip
    own = [layer for layer in layers if layer.strengths[number] is not None]
    if not own:
        return Verdict.CANNOT_TELL, "none of its weights is stored whole, under known names, in both files"
    strength, error = strengths[number], errors[number]
    size = math.sqrt(sum(layer.sizes[number] ** 2 for layer in own))
    if size == 0:
        return Verdict.CANNOT_TELL, "it changes nothing"
    telling = [layer for layer in own if _tells(layer, number, strength)]
    seen = math.sqrt(sum(layer.rounding**2 for layer in own)) / size
    if abs(strength) <= max(_SURE * error, _NOTHING):
        if seen > 1 and all(layer.difference == 0 for layer in own):
            return Verdict.CANNOT_TELL, "at strength 1 it would be smaller than the rounding of the weights"
        return Verdict.NOT, f"its strength is {round(strength, 4) + 0:g} within {max(_SURE * error, _NOTHING):.1g}"
    if not telling:
        return Verdict.CANNOT_TELL, f"at strength {strength:.3g} it is smaller than the rounding of the weights"
    there = [layer for layer in telling if _agrees(layer, number, strength)]
    explained = [layer for layer in own if layer.explained]
    if len(there) == len(telling) and len(explained) == len(own) and unseen:
        return Verdict.PARTLY, f"the {len(own)} layers that can be compared have it, {unseen} cannot be compared"
    if len(there) == len(telling) and len(explained) == len(own):
        rest = f"; {len(elsewhere)} other weights differ from the base too" if elsewhere else ""
        return Verdict.VERIFIED, f"all {len(own)} layers have it, and nothing but rounding is left{rest}"
    if not there:
        return Verdict.NOT, f"no layer of {len(own)} has it at a common strength"
    if len(there) == len(telling):
        return Verdict.PARTLY, f"all {len(own)} layers have it, and {len(own) - len(explained)} of them something else"
    return Verdict.PARTLY, f"{len(there)} of the {len(telling)} layers that can tell have it at this strength"


def _tells(layer: VerifiedLayer, number: int, strength: float) -> bool:
    """Whether rounding leaves enough of the change to see it."""
    return abs(strength) * layer.sizes[number] > layer.rounding


def _agrees(layer: VerifiedLayer, number: int, strength: float) -> bool:
    """Whether a layer has this strength. Small changes are rounded away in part, which makes strengths smaller."""
    own, error = layer.strengths[number], layer.errors[number]
    assert own is not None
    assert error is not None
    swallowed = layer.rounding / (2 * layer.sizes[number]) if layer.sizes[number] else 0.0
    return abs(own - strength) <= _SURE * error + _AGREE * abs(strength) + swallowed
