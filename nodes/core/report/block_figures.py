"""Figures of one block, from the layers of a report: the same whether q, k and v come fused or apart."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ..model.blocks import OTHER, TEXT_ENCODER
from .report import LayerReport, LayerState

COUNTED = (LayerState.APPLIED, LayerState.IN_FILE)
"""Layers whose norms add up: those that were applied, or all that a file holds where it is only inspected."""


@dataclass(frozen=True)
class BlockFigure:
    """What the layers of one block add up to. Only layers that were applied count."""

    block: str
    """``double_blocks.3``, ``other``, ``te``; empty where the place of the layers is not known."""
    layers: int
    """Layers of any state."""
    applied: int
    strengths: tuple[float, ...]
    """Distinct final strengths of the applied layers, ascending."""
    delta_norm: float | None
    """Root of the sum of squared (strength x delta norm); ``None`` where a layer was not measured."""
    norm_ratio: float | None
    """``delta_norm`` over the root-sum-square norm of the weights it is added to."""
    mean_ratio: float | None
    """Mean of the layers' own ratios. Changes with the way a file splits its layers; ``norm_ratio`` does not."""
    not_measured: int
    """Applied layers without a norm."""


def block_figures(layers: Iterable[LayerReport]) -> tuple[BlockFigure, ...]:
    """The figures of every block that ``layers`` touch, in model order.

    Norms are combined as root-sum-square: slices of one fused weight are disjoint, so
    ``|fused|^2 = |q|^2 + |k|^2 + |v|^2`` for delta and weight alike. A weight that several patches meet
    (two LoRAs) counts once in the denominator.
    """
    groups: dict[str, list[LayerReport]] = defaultdict(list)
    for layer in layers:
        groups[layer.block].append(layer)
    kinds = {kind: rank for rank, kind in enumerate(dict.fromkeys(_split(block)[0] for block in groups))}
    ordered = sorted(groups, key=lambda block: _order(block, kinds))
    return tuple(_figure(block, groups[block]) for block in ordered)


def _figure(block: str, layers: list[LayerReport]) -> BlockFigure:
    applied = [layer for layer in layers if layer.state in COUNTED]
    measured = [layer for layer in applied if layer.delta_norm is not None]
    ratios = [layer.norm_ratio for layer in applied if layer.norm_ratio is not None]
    complete = bool(applied) and len(measured) == len(applied)
    delta = (
        math.sqrt(math.fsum((x.strength * (x.delta_norm or 0.0)) ** 2 for x in measured))
        if complete
        else None
    )
    weights = {(x.model_key, x.slice): x.weight_norm for x in applied}
    known = [norm for norm in weights.values() if norm is not None]
    weight = math.sqrt(math.fsum(norm**2 for norm in known)) if known and len(known) == len(weights) else None
    return BlockFigure(
        block=block,
        layers=len(layers),
        applied=len(applied),
        strengths=tuple(sorted({layer.strength for layer in applied})),
        delta_norm=delta,
        norm_ratio=delta / weight if delta is not None and weight else None,
        mean_ratio=math.fsum(ratios) / len(ratios) if ratios and len(ratios) == len(applied) else None,
        not_measured=len(applied) - len(measured),
    )


def _split(block: str) -> tuple[str, int]:
    kind, _, index = block.rpartition(".")
    return (kind, int(index)) if kind and index.isdecimal() and index.isascii() else (block, -1)


def _order(block: str, kinds: dict[str, int]) -> tuple[int, int, int]:
    last = {OTHER: 1, TEXT_ENCODER: 2, "": 3}
    kind, index = _split(block)
    return (last.get(block, 0), kinds[kind], index)
