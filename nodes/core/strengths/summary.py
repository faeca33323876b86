"""Block strengths spelled out for one model: which blocks get which strength."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..model.blocks import OTHER, TEXT_ENCODER, BlockLayout, Place
from ..model.slices import WeightSlice, fused_slices
from .text import StrengthTable, format_number

_NAMES = 4

Signature = tuple[tuple[str, float], ...]
"""Name of every layer (or slice) of a block with its strength."""


def spell_out(table: StrengthTable, layout: BlockLayout, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """One line for every run of blocks with the same strengths, in the order of the model.

    Args:
        shapes: Shape of every weight by its full key; weights that are left out count as not fused.

    >>> spell_out(table, layout, shapes)  # doctest: +SKIP
    ('double_blocks.0-4: 0.5', 'single_blocks.0-19: 1 (linear1 q, linear1 k); 0 (linear1 v, ...)', 'other: 1')
    """
    blocks: dict[tuple[str, int], list[tuple[str, float]]] = {}
    for place in layout.places():
        cuts = fused_slices(place, shapes.get(place.key, ()))
        blocks.setdefault(_address(place), []).extend(_strengths(table, place, cuts))
    kinds = {kind: rank for rank, kind in enumerate(dict.fromkeys(kind for kind, _ in blocks))}
    lines: list[str] = []
    run: tuple[str, int, int, Signature] | None = None
    for (kind, index), units in sorted(blocks.items(), key=lambda block: (kinds[block[0][0]], block[0][1])):
        signature = tuple(dict.fromkeys(units))
        if run is not None and run[0] == kind and run[2] == index - 1 and run[3] == signature:
            run = (kind, run[1], index, signature)
            continue
        if run is not None:
            lines.append(_line(*run))
        run = (kind, index, index, signature)
    return (*lines, *((_line(*run),) if run is not None else ()))


def changed_blocks(table: StrengthTable, layout: BlockLayout, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many blocks of the diffusion model have a layer whose strength is not 1."""
    found = set()
    for place in layout.places():
        if place.block is None or place.text_encoder or place.block in found:
            continue
        cuts = fused_slices(place, shapes.get(place.key, ()))
        if any(value != 1.0 for _, value in _strengths(table, place, cuts)):
            found.add(place.block)
    return len(found)


def _address(place: Place) -> tuple[str, int]:
    if not place.text_encoder:
        return (place.block.kind, place.block.index) if place.block else (OTHER, -1)
    last = place.block.kind.rpartition(".")[2] if place.block else OTHER
    return f"{TEXT_ENCODER}.{place.encoder}.{last}", place.block.index if place.block else -1


def _strengths(table: StrengthTable, place: Place, cuts: tuple[WeightSlice, ...]) -> Iterable[tuple[str, float]]:
    name = place.inner or place.layer
    if not cuts:
        return [(name, table.strength(place))]
    return [(f"{name} {cut.names[0]}", table.strength(place, cut.names)) for cut in cuts]


def _line(kind: str, first: int, last: int, units: Signature) -> str:
    where = kind if first < 0 else f"{kind}.{first}" if first == last else f"{kind}.{first}-{last}"
    by_strength: dict[float, list[str]] = {}
    for name, value in units:
        by_strength.setdefault(value, []).append(name)
    if len(by_strength) == 1:
        return f"{where}: {format_number(units[0][1])}"
    return f"{where}: " + "; ".join(f"{format_number(v)} ({_some(names)})" for v, names in by_strength.items())


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
