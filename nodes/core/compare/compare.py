"""How much LoRA files have in common: inner products of what they change, weight by weight, through their factors.

``cos = <A, B> / (|A| |B|)`` over all weights together; that two files are the same up to a factor is
``min_c |B - c A| / |B| = sqrt(1 - cos^2)``, whatever their ranks and however their factors are scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ..bake.merge_layer import Weight
from ..bake.merge_plan import Blend, MergeModel, MergePlan, MergeSource, plan_merge
from ..errors import PatchbayError
from ..files.reader import TensorReader
from ..lora.file_kinds import made_for
from ..lora.places import place_layer
from .changes import Change, file_change
from .ranks import RankAdvice, advise_rank

SAME = 5e-3
"""Residual up to which a file is another one times a factor: what rounding to bfloat16 leaves, twice."""

Gram = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ComparedLayer:
    """One weight."""

    name: str
    block: str
    gram: Gram
    """Inner products of the files' changes [files, files]; 0 for a file that does not change it."""
    has: tuple[bool, ...]
    """Which files change it."""
    ranks: tuple[RankAdvice | None, ...] = ()
    """What rank would do, for each file; empty where that was not asked for."""
    not_compared: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two or more files."""

    names: tuple[str, ...]
    layers: tuple[ComparedLayer, ...]
    left_out: tuple[str, ...]

    @property
    def gram(self) -> Gram:
        """Inner products over all weights."""
        return add_grams([layer.gram for layer in self.layers], len(self.names))

    def blocks(self) -> dict[str, Gram]:
        """Inner products by block, in the order of the first file."""
        groups: dict[str, list[Gram]] = {}
        for layer in self.layers:
            groups.setdefault(layer.block, []).append(layer.gram)
        return {block: add_grams(grams, len(self.names)) for block, grams in groups.items()}

    def only_in(self, file: int) -> tuple[str, ...]:
        """Layers that this file alone changes."""
        return tuple(x.name for x in self.layers if x.has[file] and sum(x.has) == 1)


def add_grams(grams: Sequence[Gram], count: int) -> Gram:
    """The sum of matrices of inner products."""
    return tuple(tuple(math.fsum(gram[i][j] for gram in grams) for j in range(count)) for i in range(count))


def cosine(gram: Gram, one: int, other: int) -> float | None:
    """Cosine of two files' changes; ``None`` where one of them changes nothing."""
    norms = gram[one][one] * gram[other][other]
    return gram[one][other] / math.sqrt(norms) if norms > 0 else None


def factor_between(gram: Gram, one: int, other: int) -> tuple[float, float] | None:
    """The factor ``c`` with the least ``|B - c A|``, and that residual as a share of ``|B|``."""
    if gram[one][one] <= 0 or gram[other][other] <= 0:
        return None
    factor = gram[one][other] / gram[one][one]
    left = gram[other][other] - factor * gram[one][other]
    return factor, math.sqrt(max(left, 0.0) / gram[other][other])


def compare_files(sources: Sequence[MergeSource], model: MergeModel | None = None, ranks: bool = False) -> Comparison:
    """Compare files, each at the strength of its source.

    Args:
        ranks: Also ask every layer what rank it needs.

    Raises:
        PatchbayError: they are for different models, or spell layers differently and there is no model.
        OSError: a file cannot be read.
    """
    plan = plan_merge(sources, model)
    weight: Weight = model.weight if model is not None else lambda key: None
    with ExitStack() as opened:
        readers = [opened.enter_context(TensorReader(source.header)) for source in sources]
        layers = [_layer(blend, plan, readers, weight, ranks) for blend in plan.blends]
    return Comparison(tuple(source.header.name for source in sources), tuple(layers), plan.left_out)


def _layer(
    blend: Blend, plan: MergePlan, readers: Sequence[TensorReader], weight: Weight, ranks: bool
) -> ComparedLayer:
    count = len(readers)
    block = place_layer(blend.name, made_for(plan.files[0])[1].id)[0]
    has = tuple(any(part.source == number for part in blend.parts) for number in range(count))
    try:
        changes = [file_change(blend, number, readers, weight) for number in range(count)]
    except PatchbayError as error:
        empty = tuple((0.0,) * count for _ in range(count))
        return ComparedLayer(blend.name, block, empty, has, not_compared=str(error))
    advice = (
        tuple(None if x is None else advise_rank(x, _rank(blend, i)) for i, x in enumerate(changes)) if ranks else ()
    )
    return ComparedLayer(blend.name, block, _gram(changes), has, advice)


def _rank(blend: Blend, source: int) -> int | None:
    ranks = [part.layer.rank for part in blend.parts if part.source == source]
    return sum(rank for rank in ranks if rank) or None


def _gram(changes: Sequence[Change | None]) -> Gram:
    return tuple(tuple(0.0 if a is None or b is None else a.dot(b) for b in changes) for a in changes)
