"""Layers that share one strength: which selectors of the text form name them, and in which order they stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

from ..model.blocks import OTHER, BlockId, Place

BLOCK, BLOCK_AND_STREAM, BLOCK_AND_PART, KIND = "block", "block and stream", "block and part", "kind of block"
STREAMS = ("img", "txt")
ROLES = ("attn", "mlp")


def selectors_of(place: Place, grouping: str, slice_names: Collection[str] = ()) -> tuple[str, ...]:
    """The selectors that together name a layer under a grouping; more than one where a fused weight lies in several.

    Args:
        grouping: ``block``, ``block and stream`` (``img`` and ``txt`` apart, where a block has both), ``block and
            part`` (attention and MLP apart; what is neither goes by its own name) or ``kind of block``.
        slice_names: Part names of the slices of a fused weight.
    """
    if place.text_encoder:
        return ()
    if place.block is None:
        return (OTHER,)
    if grouping == KIND:
        return (f"{place.block.kind}.*",)
    parts: Sequence[str] = ()
    if grouping == BLOCK_AND_STREAM:
        parts = [name for name in STREAMS if name in place.parts][:1]
    elif grouping == BLOCK_AND_PART:
        sliced = [name for name in ROLES if name in slice_names]
        parts = sliced or [name for name in ROLES if name in place.parts] or [place.layer]
    return tuple(f"{place.block}.{part}" for part in parts) or (str(place.block),)


def selector_rank(selector: str, kinds: Iterable[str]) -> tuple[int, list[tuple[int, str]]]:
    """A sort key for selectors: containers in the model's order, blocks by number, ``other`` last."""
    order = {kind: index for index, kind in enumerate(kinds)}
    kind = next((k for k in order if selector.startswith(f"{k}.")), "")
    rest = selector.removeprefix(f"{kind}.").split(".")
    return order.get(kind, len(order)), [(int(part) if part.isdigit() else -1, part) for part in rest]


def joined_ranges(selectors: Iterable[str]) -> list[str]:
    """The selectors with neighbours of one container joined: ``double_blocks.0`` and ``.1`` to ``double_blocks.0-1``.

    A range stands where its first block stood; whatever is no block with a number stays as it is.
    """
    found: dict[tuple[str, str], list[int]] = {}
    order: list[tuple[str, str] | str] = []
    for selector in selectors:
        block, part = _block_and_part(selector)
        if block is None:
            order.append(selector)
            continue
        name = (block.kind, part)
        if name not in found:
            order.append(name)
        found.setdefault(name, []).append(block.index)
    texts: list[str] = []
    for name in order:
        if isinstance(name, str):
            texts.append(name)
            continue
        kind, part = name
        ending = f".{part}" if part else ""
        for _, run in groupby(enumerate(sorted(set(found[name]))), lambda pair: pair[1] - pair[0]):
            numbers = [number for _, number in run]
            span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
            texts.append(f"{kind}.{span}{ending}")
    return texts


def _block_and_part(selector: str) -> tuple[BlockId | None, str]:
    """The block that a selector of one block names, and the part behind it."""
    segments = selector.split(".")
    at = next((i for i, segment in enumerate(segments) if i and segment.isdigit()), None)
    if at is None:
        return None, ""
    return BlockId(".".join(segments[:at]), int(segments[at])), ".".join(segments[at + 1 :])
