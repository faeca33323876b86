"""What smaller ranks keep of a LoRA file: per layer, per block and in all, from the singular values of its factors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..bake.merge_plan import Blend, MergeSource, plan_merge
from ..errors import PatchbayError
from ..files.reader import TensorReader
from ..files.tensors import Header
from ..lora.file_kinds import made_for
from ..lora.places import place_layer
from ..model.blocks import OTHER, TEXT_ENCODER
from ..report.report import LayerReport, Report
from ..report.workbench import RankCurve
from .changes import file_change
from .ranks import ENERGIES, RankAdvice, advise_values, singular_values

if TYPE_CHECKING:
    from torch import Tensor

_MOST_RANK = 512
"""Factors of a larger rank (a LoKr of whole factors) are not decomposed: the rank is not what such a file saves by."""
_POINTS = 24


@dataclass(frozen=True)
class _Layer:
    name: str
    block: str
    squares: Tensor
    """Squared singular values, descending."""
    advice: RankAdvice


def with_ranks(report: Report, header: Header) -> Report:
    """The report on an inspected LoRA, with the ranks that its layers need and curves by block.

    Unchanged for a file whose layers have no factors.
    """
    layers = list(_layers(header))
    if not layers:
        return report
    known = {layer.name: layer.advice for layer in layers}
    return _told(report, known, _curves(layers))


def _told(report: Report, known: dict[str, RankAdvice], curves: tuple[RankCurve, ...]) -> Report:
    """The report with advice for the layers of these names."""
    layers = tuple(_with_advice(layer, known.get(layer.lora_key)) for layer in report.layers)
    return replace(report, layers=layers, ranks=curves, notes=(*report.notes, *rank_notes(curves)))


def _with_advice(layer: LayerReport, advice: RankAdvice | None) -> LayerReport:
    return layer if advice is None else layer.changed(needs=advice.for_energy, above_noise=advice.above_noise)


def _layers(header: Header) -> Iterator[_Layer]:
    try:
        plan = plan_merge([MergeSource(header)])
    except PatchbayError:
        return  # what is wrong with such a file, the report says already
    architecture = made_for(plan.files[0])[1].id
    with TensorReader(header) as reader:
        for blend in plan.blends:
            made = _layer(blend, architecture, reader)
            if made is not None:
                yield made


def _layer(blend: Blend, architecture: str, reader: TensorReader) -> _Layer | None:
    if any(part.layer.dora for part in blend.parts):
        return None  # its magnitudes scale rows of the weight, which the factors do not know
    try:
        change = file_change(blend, 0, [reader])
    except PatchbayError:
        return None
    if change is None or change.up is None or change.up.shape[1] > _MOST_RANK:
        return None
    values = singular_values(change)
    rank = sum(part.layer.rank or 0 for part in blend.parts) or None
    return _Layer(
        blend.parts[0].layer.name, place_layer(blend.name, architecture)[0], values.square(),
        advise_values(values, rank),
    )  # fmt: skip


def _curves(layers: Sequence[_Layer]) -> tuple[RankCurve, ...]:
    groups: dict[str, list[_Layer]] = {}
    for layer in layers:
        groups.setdefault(layer.block, []).append(layer)
    last = {OTHER: 1, TEXT_ENCODER: 2, "": 3}
    ordered = sorted(groups.items(), key=lambda group: last.get(group[0], 0))
    ranks = _grid(max(len(layer.squares) for layer in layers))
    return (_curve("", layers, ranks), *(_curve(block, its, ranks) for block, its in ordered))


def _grid(most: int) -> tuple[int, ...]:
    """Every rank while there are few, then evenly in their logarithms."""
    if most <= _POINTS:
        return tuple(range(1, most + 1))
    found = {round(most ** (at / (_POINTS - 1))) for at in range(_POINTS)}
    return tuple(sorted(found | set(range(1, 5))))


def _curve(block: str, layers: Sequence[_Layer], ranks: Sequence[int]) -> RankCurve:
    import torch

    longest = max(len(layer.squares) for layer in layers)
    kept = torch.zeros(longest, dtype=torch.float64)
    for layer in layers:
        kept[: len(layer.squares)] += layer.squares
    total = float(kept.sum())
    share = kept.cumsum(0) / total if total else torch.ones(longest, dtype=torch.float64)
    needed = tuple(min(int((share < energy).sum()) + 1, longest) for energy in ENERGIES) if total else (0,) * 3
    advice = [layer.advice for layer in layers]
    return RankCurve(
        block, tuple(ranks), tuple(min(float(share[min(rank, longest) - 1]), 1.0) for rank in ranks), needed,
        max((x.rank or 0 for x in advice), default=0), max((x.above_noise for x in advice), default=0),
        sum(x.is_dead for x in advice), sum(x.is_over_ranked for x in advice), len(layers),
    )  # fmt: skip


def rank_notes(curves: Sequence[RankCurve]) -> Iterator[str]:
    """What the curves say in words."""
    if not curves:
        return
    whole = curves[0]
    low, middle, high = whole.needed
    if not high:
        return
    yield (
        f"Rank: {low}, {middle} and {high} in every layer keep 95, 98 and 99 % of the squared norm; the file has "
        f"{whole.stored}."
    )
    if whole.over_ranked:
        yield f"{whole.over_ranked} of {whole.layers} layers have more than twice the rank that 99 % of them needs."
    if whole.above_noise < whole.stored:
        yield (
            f"No layer has more than {whole.above_noise} singular values above what rounding to bfloat16 leaves: what "
            "lies below is noise in a file of that type."
        )
