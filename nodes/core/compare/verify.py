"""Whether a checkpoint holds LoRAs, and at which strengths: least squares on the difference to its base, by weight.

``W - W0 = sum_i s_i D_i + rest``. The strengths solve ``G s = b`` with ``G_ij = <D_i, D_j>``, ``b_i = <D_i, W - W0>``;
their standard error is ``|rest| / (|D| sqrt(N))`` for N numbers, and what rounding the merged weight to its dtype
leaves as a rest is ``sqrt(sum(ulp(W)^2) / 12)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from ..bake.merge_plan import Blend, MergeModel, MergePlan, MergeSource, plan_merge
from ..check.model_weights import ModelWeights
from ..errors import PatchbayError
from ..files.reader import TensorReader
from .changes import Change, file_change
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
    checkpoint: ModelWeights, base: ModelWeights, sources: Sequence[MergeSource], model: MergeModel
) -> Verification:
    """Look for the LoRAs of ``sources`` in ``checkpoint``.

    Args:
        model: The base as something that LoRAs can be matched with.

    Raises:
        PatchbayError: a LoRA is not for this model.
        OSError: a file cannot be read.
    """
    plan = plan_merge(sources, model)
    not_compared = list(plan.left_out)
    found: list[tuple[Blend, _Layer]] = []
    with ExitStack() as opened:
        readers = [opened.enter_context(TensorReader(source.header)) for source in sources]
        for blend in plan.blends:
            try:
                made = _measure(blend, len(sources), readers, checkpoint, base)
            except PatchbayError as error:
                not_compared.append(f"{blend.name}: {error}")
                continue
            if isinstance(made, str):
                not_compared.append(f"{blend.name}: {made}")
            else:
                found.append((blend, made))
        measured = [layer for _, layer in found]
        strengths, errors = _solve(
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
    judged = [_judge(number, layers, strengths, errors, elsewhere) for number in range(len(sources))]
    return Verification(
        tuple(source.header.name for source in sources), tuple(layers), strengths, errors,
        tuple(verdict for verdict, _ in judged), tuple(reason for _, reason in judged), elsewhere, tuple(not_compared),
    )  # fmt: skip


@dataclass(frozen=True)
class _Layer:
    gram: tuple[tuple[float, ...], ...]
    right: tuple[float, ...]
    square: float
    """``|W - W0|^2``."""
    rest_square: float
    count: int
    rounding: float
    strengths: tuple[float | None, ...]
    errors: tuple[float | None, ...]


def _measure(
    blend: Blend, count: int, readers: Sequence[TensorReader], checkpoint: ModelWeights, base: ModelWeights
) -> _Layer | str:
    if not blend.model_key:
        return "belongs to a text encoder, which is not compared"
    merged, own = _slice(checkpoint, blend), _slice(base, blend)
    if merged is None or own is None or merged.shape != own.shape:
        return "its weight is not stored whole in both files, or under other names"
    changes = [file_change(blend, number, readers, base.read) for number in range(count)]
    difference = (merged.double() - own.double()).reshape(_flat(merged))
    gram = tuple(tuple(0.0 if a is None or b is None else a.dot(b) for b in changes) for a in changes)
    right = tuple(0.0 if change is None else change.dot_whole(difference) for change in changes)
    square = float(difference.square().sum())
    solved, _ = _solve([gram], [right], [square], [difference.numel()])
    rest = _rest(difference, changes, solved)
    _, errors = _solve([gram], [right], [rest], [difference.numel()])
    has = [change is not None and gram[i][i] > 0 for i, change in enumerate(changes)]
    return _Layer(
        gram, right, square, rest, difference.numel(), _rounding(merged),
        tuple(s if there else None for s, there in zip(solved, has, strict=True)),
        tuple(e if there else None for e, there in zip(errors, has, strict=True)),
    )  # fmt: skip


def _slice(weights: ModelWeights, blend: Blend) -> Tensor | None:
    weight = weights.read(blend.model_key)
    if weight is None or blend.offset is None:
        return weight
    return weight.narrow(*blend.offset)


def _flat(weight: Tensor) -> tuple[int, int]:
    return (weight.shape[0], -1) if weight.dim() > 1 else (1, -1)


def _rest(difference: Tensor, changes: Sequence[Change | None], strengths: Sequence[float]) -> float:
    """``|W - W0 - sum s D|^2``, from the matrices: the difference of squares would lose what is small."""
    rest = difference.clone()
    for change, strength in zip(changes, strengths, strict=True):
        if change is not None and strength:
            rest -= strength * change.dense()
    return float(rest.square().sum())


def _rounding(weight: Tensor) -> float:
    """``sqrt(sum(ulp^2) / 12)`` of a weight's dtype."""
    import torch

    bits = {torch.float32: 23, torch.float16: 10, torch.bfloat16: 7, torch.float64: 52}[weight.dtype]
    exponents = torch.frexp(weight.float())[1].double() - 1
    if weight.dtype == torch.float16:
        exponents = exponents.clamp_min(-14)
    return math.sqrt(float(torch.exp2(2 * (exponents - bits)).sum()) / 12)


def _solve(
    grams: Sequence[tuple[tuple[float, ...], ...]], rights: Sequence[tuple[float, ...]], rests: Sequence[float],
    counts: Sequence[int],
) -> tuple[tuple[float, ...], tuple[float, ...]]:  # fmt: skip
    """Strengths over some weights, and their standard errors; those of files that are the same are shared evenly."""
    import torch

    if not grams:
        return (), ()
    gram = torch.tensor(grams, dtype=torch.float64).sum(0)
    right = torch.tensor(rights, dtype=torch.float64).sum(0)
    inverse = torch.linalg.pinv(gram, hermitian=True, rtol=1e-9)
    variance = sum(rests) / max(sum(counts), 1)
    errors = (inverse.diagonal().clamp_min(0) * variance).sqrt()
    return tuple((inverse @ right).tolist()), tuple(errors.tolist())


def _as_layer(blend: Blend, layer: _Layer) -> VerifiedLayer:
    return VerifiedLayer(
        blend.name, layer.strengths, layer.errors, math.sqrt(layer.square), math.sqrt(layer.rest_square),
        layer.rounding, tuple(math.sqrt(max(row[i], 0.0)) for i, row in enumerate(layer.gram)),
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
    checkpoint: ModelWeights, base: ModelWeights,
) -> Replay | None:  # fmt: skip
    if not made.explained:
        return None
    merged, own = _slice(checkpoint, blend), _slice(base, blend)
    assert merged is not None
    assert own is not None
    return replay_layer(blend, readers, tried, own, merged, base.read)


def _elsewhere(plan: MergePlan, checkpoint: ModelWeights, base: ModelWeights) -> list[str]:
    touched = {blend.model_key for blend in plan.blends}
    shared = [key for key in base.shapes if key in checkpoint.shapes and key not in touched]
    return [key for key in shared if not checkpoint.same_bytes(base, key)]


def _judge(
    number: int, layers: Sequence[VerifiedLayer], strengths: Sequence[float], errors: Sequence[float],
    elsewhere: Sequence[str],
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
        return Verdict.NOT, f"its strength is {strength:.3g} within {max(_SURE * error, _NOTHING):.1g}"
    if not telling:
        return Verdict.CANNOT_TELL, f"at strength {strength:.3g} it is smaller than the rounding of the weights"
    there = [layer for layer in telling if _agrees(layer, number, strength)]
    explained = [layer for layer in own if layer.explained]
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
