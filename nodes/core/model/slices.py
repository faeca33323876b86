"""Named slices of fused weights: q, k and v inside ``qkv``, attention and MLP inside a single block's linears.

A table of shapes, not of models: the name of the layer and the ratio of its sides decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from .blocks import Place

Offset = tuple[int, int, int]
"""``(dim, start, length)``."""


@dataclass(frozen=True)
class WeightSlice:
    """A range of rows (dim 0) or columns (dim 1) of a fused weight that has a meaning of its own."""

    offset: Offset
    names: tuple[str, ...]
    """Part names that select it: ``("q", "attn")``."""


_QKV = frozenset({"qkv", "in_proj", "to_qkv", "qkv_proj", "qkv_x"})


def fused_slices(place: Place, shape: tuple[int, ...]) -> tuple[WeightSlice, ...]:
    """The slices of a fused weight, in order and without gaps; empty for a weight that is not fused.

    Args:
        place: Where the weight lies.
        shape: ``[out, in]``.
    """
    if len(shape) != 2 or place.block is None:
        return ()
    rows, columns = shape
    last = place.layer.rsplit(".", 1)[-1]
    if last in _QKV and columns < rows <= 3 * columns and (rows - columns) % 2 == 0:
        shared = (rows - columns) // 2  # less than the queries where several of them share one key and value
        return _split_rows([("q", columns), ("k", shared), ("v", shared)], attn=())
    if place.text_encoder or place.beside_attention:
        return ()
    if last == "linear1" and rows > 3 * columns:
        parts = [("q", columns), ("k", columns), ("v", columns), ("mlp", rows - 3 * columns)]
        return _split_rows(parts, attn=("attn",))
    if last == "linear2" and columns > rows:
        return (WeightSlice((1, 0, rows), ("attn",)), WeightSlice((1, rows, columns - rows), ("mlp",)))
    return ()


def _split_rows(parts: list[tuple[str, int]], attn: tuple[str, ...]) -> tuple[WeightSlice, ...]:
    slices: list[WeightSlice] = []
    start = 0
    for name, length in parts:
        names = (name,) if name == "mlp" else (name, *attn)
        slices.append(WeightSlice((0, start, length), names))
        start += length
    return tuple(slices)


def overlap(part: Offset, whole: Offset | None) -> Offset | None:
    """What of ``part`` lies in ``whole`` (``None`` means the whole weight); ``None`` if nothing does."""
    if whole is None:
        return part
    if part[0] != whole[0]:
        return None
    start, end = max(part[1], whole[1]), min(part[1] + part[2], whole[1] + whole[2])
    return (part[0], start, end - start) if start < end else None
