"""Which rows of a file's module are which rows of the model's layers, where one side stacks what the other keeps apart.

Arithmetic of whole numbers: the stack of the file's modules is the stack of the model's layers (``Link``), and how many
rows each has is read from the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ..lora.adapters.base import Ranges
from ..model.family import HALVES, STRAIGHT

_ATTENTION = re.compile(r"(?:^|[^a-z]|w\d?)([qkv])(?:_proj|_linear|_lora)?$")


class Piece(NamedTuple):
    """Rows of a module that go to rows of one layer of the model."""

    layer: int
    """Place of the layer in the model's stack."""
    start: int
    """First row of the layer that is changed."""
    rows: int
    ranges: Ranges | None
    """The module's rows, in the layer's order; ``None``: all, as they are."""


@lru_cache(4_096)
def read_stack(order: str, part: int, file: tuple[int, ...], model: tuple[int, ...]) -> tuple[Piece, ...]:
    """Where the rows of one module go.

    Args:
        order: As in ``Link``.
        part: Place of the module in the file's stack.
        file: Rows of the modules.
        model: Rows of the layers; the same sum.

    Raises:
        ValueError: the sums differ, or the order does not divide them. The text says what was found.
    """
    total = sum(model)
    if sum(file) != total or min(file) < 0:
        raise ValueError(f"has {sum(file)} rows in all, the model's layers have {total} together")
    first, rows = sum(file[:part]), file[part]
    found: list[tuple[int, int, int]] = []  # row of the model's stack, row of the module, how many
    for there, here, count in _runs(order, total):
        start, end = max(there, first), min(there + count, first + rows)
        if start < end:
            found.append((here + start - there, start - first, end - start))
    pieces: list[Piece] = []
    for layer, height in enumerate(model):
        pieces += _of_layer(layer, sum(model[:layer]), height, sorted(found), rows)
    return tuple(pieces)


def _runs(order: str, total: int) -> list[tuple[int, int, int]]:
    """Rows that stay together: first row in the file's stack, first row in the model's, how many."""
    if order == STRAIGHT:
        return [(0, 0, total)]
    if order == HALVES:
        if total % 2:
            raise ValueError(f"has two halves, and the model's layer has {total} rows")
        return [(0, total // 2, total // 2), (total // 2, 0, total // 2)]
    head = int(order.removeprefix("heads:"))
    if total % (3 * head):
        raise ValueError(f"has q, k and v in turns of {head} rows, and the model's layer has {total}")
    count = total // (3 * head)
    return [((h * 3 + p) * head, (p * count + h) * head, head) for p in range(3) for h in range(count)]


def _of_layer(layer: int, first: int, height: int, runs: list[tuple[int, int, int]], rows: int) -> list[Piece]:
    """The runs that lie in one layer, those that touch each other in one piece."""
    pieces: list[tuple[int, int, list[tuple[int, int]]]] = []
    for stacked, module, count in runs:
        start, end = max(stacked, first), min(stacked + count, first + height)
        if start >= end:
            continue
        here, there = module + start - stacked, start - first
        if pieces and pieces[-1][0] + pieces[-1][1] == there:
            begun, size, ranges = pieces.pop()
            if sum(ranges[-1]) == here:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + end - start)
            else:
                ranges.append((here, end - start))
            pieces.append((begun, size + end - start, ranges))
        else:
            pieces.append((there, end - start, [(here, end - start)]))
    return [
        Piece(layer, start, size, None if ranges == [(0, rows)] else tuple(ranges)) for start, size, ranges in pieces
    ]


def fill_heights(
    names: Sequence[str], known: Sequence[int | None], total: int, columns: int | None = None
) -> tuple[int, ...]:
    """The rows of all modules of a stack from those that the file has.

    Keys and values are equally many. Where nothing tells, there are as many queries as ``columns`` if keys and values
    are fewer or other layers are stacked with them, and q, k and v are thirds otherwise.

    >>> fill_heights(("attn.to_q", "attn.to_k", "attn.to_v"), (None, 128, None), 512)
    (256, 128, 128)

    """
    heights = list(known)
    letters = [match[1] if (match := _ATTENTION.search(name)) else "" for name in names]
    places = {letter: index for index, letter in enumerate(letters) if letter}
    k, v, q = places.get("k"), places.get("v"), places.get("q")
    if k is not None and v is not None:
        shared = heights[k] if heights[k] is not None else heights[v]
        heights[k] = heights[v] = shared
        if q is not None and len(names) == 3 and shared is None:
            if heights[q] is None and columns is not None and columns < total < 3 * columns:
                heights[q] = columns  # several queries share a key
            height = heights[q]
            heights[k] = heights[v] = (total - height) // 2 if height is not None else None
    if len(names) > 3 and q is not None:  # q, k and v beside others: they are as wide as each other
        shared = next((heights[place] for place in places.values() if heights[place] is not None), columns)
        for place in places.values():
            heights[place] = shared if heights[place] is None else heights[place]
    missing = [index for index, height in enumerate(heights) if height is None]
    rest = total - sum(height for height in heights if height is not None)
    for index in missing:
        heights[index] = rest // len(missing)
    return tuple(height or 0 for height in heights)
