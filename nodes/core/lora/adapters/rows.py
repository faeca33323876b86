"""Some rows of a layer's delta as layers of their own: for weights that a writer fuses and a model keeps apart, or the
reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...errors import AdapterFormatError
from .base import Adapter, Ranges, RowCut, Shape, count_rows, product

if TYPE_CHECKING:
    from torch import Tensor


def cut_rows(
    adapter: Adapter, shapes: Mapping[str, Shape], ranges: Ranges, rows: int, plain_magnitude: bool = True
) -> tuple[RowCut, ...]:
    """The cuts of ``adapter`` with the DoRA magnitudes of their rows.

    Args:
        shapes: Of the layer's tensors by role, ``alpha`` and ``dora_scale`` among them.
        ranges: Rows of the delta, in the order in which they are wanted.
        rows: Rows of the whole delta.
        plain_magnitude: Whether the shape of ``dora_scale`` says what it belongs to; PEFT and ai-toolkit have one
            value a row whatever its shape.

    Raises:
        AdapterFormatError: there is no exact form.
    """
    cuts = adapter.row_cuts(shapes, ranges)
    magnitude = shapes.get("dora_scale")
    if magnitude is None:
        return cuts
    if not plain_magnitude or magnitude[:1] != (1,) or product(magnitude) == 1:
        dim = next((dim for dim, size in enumerate(magnitude) if size == rows), None)
        if dim is None:
            raise AdapterFormatError(f"has {product(magnitude)} magnitudes (DoRA), its delta has {rows} rows")
        return tuple(
            RowCut(cut.start, cut.rows, {**cut.takes, "dora_scale": (dim, part_of(ranges, cut.start, cut.rows))})
            for cut in cuts
        )
    if len(cuts) > 1 or count_rows(ranges) != rows:
        raise AdapterFormatError("its DoRA magnitudes are those of whole columns, of which a part of the rows has none")
    return cuts


def part_of(ranges: Ranges, start: int, rows: int) -> Ranges:
    """``rows`` rows of the ranges, from the ``start``-th on."""
    found: list[tuple[int, int]] = []
    for first, count in ranges:
        skipped = min(start, count)
        start -= skipped
        taken = min(count - skipped, rows)
        if taken > 0:
            found.append((first + skipped, taken))
            rows -= taken
    return tuple(found)


def taken_shape(shape: Shape, dim: int, ranges: Ranges) -> Shape:
    """The shape of a tensor of which ``ranges`` of one dimension are kept."""
    return (*shape[:dim], count_rows(ranges), *shape[dim + 1 :])


def take(tensor: Tensor, dim: int, ranges: Ranges) -> Tensor:
    """The ranges of one dimension of a tensor; a view where they are one."""
    import torch

    if len(ranges) == 1:
        return tensor.narrow(dim, *ranges[0])
    return torch.cat([tensor.narrow(dim, first, count) for first, count in ranges], dim)
