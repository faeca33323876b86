"""Named slices of fused weights: q, k and v inside ``qkv``, attention and MLP inside a single block's linears.

The names are those of the families' fused layers (a test goes through all of them); the ratio of a weight's sides says
how wide each slice is, so that nothing has to be known of the model's size.
"""

from __future__ import annotations

from typing import NamedTuple

from .blocks import Place

Offset = tuple[int, int, int]
"""``(dim, start, length)``."""


class WeightSlice(NamedTuple):
    """A range of rows (dim 0) or columns (dim 1) of a fused weight that has a meaning of its own."""

    offset: Offset
    names: tuple[str, ...]
    """Part names that select it: ``("q", "attn")``."""


_QKV = frozenset(
    {
        "qkv", "in_proj", "to_qkv", "qkv_proj", "qkv_x", "qkv_y", "Wqkv", "img_qkv", "txt_qkv", "img_attn_qkv",
        "txt_attn_qkv", "img_qkv_proj",
    }
)  # fmt: skip
_KV = frozenset({"to_kv", "kv_linear", "kv_proj", "txt_kv_proj", "linear1_kv"})
_GATED = frozenset({"gate_up", "gate_up_proj"})
_GATE_LAST = frozenset({"ffn_up_gate"})


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
    # SeedVR2 has a fused layer for each stream: ``proj_qkv.vid``.
    if last in _QKV or place.layer.rpartition(".")[0].endswith("proj_qkv"):
        return _split_rows(_qkv_heights(rows, columns), attn=())
    if last in _KV and rows % 2 == 0 and rows != 3 * columns:  # three: differential attention has two keys
        return _split_rows([("k", rows // 2), ("v", rows // 2)], attn=())
    if (last in _GATED or (last == "fc1" and 3 * rows == 16 * columns)) and rows % 2 == 0:  # MiniMax-H3's sides
        return _split_rows([("gate", rows // 2), ("up", rows // 2)], attn=("mlp",))
    if last in _GATE_LAST and rows % 2 == 0:
        return _split_rows([("up", rows // 2), ("gate", rows // 2)], attn=("mlp",))
    if place.text_encoder or place.beside_attention:
        return ()
    if last == "linear1" and rows > 3 * columns:
        parts = [("q", columns), ("k", columns), ("v", columns), ("mlp", rows - 3 * columns)]
        return _split_rows(parts, attn=("attn",))
    if last == "linear2" and columns > rows:
        return (WeightSlice((1, 0, rows), ("attn",)), WeightSlice((1, rows, columns - rows), ("mlp",)))
    return ()


def _qkv_heights(rows: int, columns: int) -> list[tuple[str, int]]:
    """Rows of q, k and v; none where they are not three, such as in differential attention (q and k twice).

    Where several queries share one key and value the queries are as many as the columns and the rest is halved; heads
    may also be wider than what they are made from (MiniMax-H3), and then the three are alike.
    """
    if rows >= 3 * columns and rows % 3 == 0 and rows != 5 * columns:
        return [(name, rows // 3) for name in "qkv"]
    if columns < rows < 3 * columns and (rows - columns) % 2 == 0:
        return [("q", columns), ("k", (rows - columns) // 2), ("v", (rows - columns) // 2)]
    return []


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


def torn_slice(place: Place, shape: tuple[int, ...], offset: Offset | None) -> str:
    """Why a patch that lands on a slice of a fused weight tears one of its parts; empty where it does not.

    ComfyUI writes FLUX.1's ``proj_mlp`` (4 x hidden rows) into FLUX.2's ``linear1``, whose MLP is gated (6 x hidden
    rows): the whole of its first half and a third of the second.
    """
    if offset is None:
        return ""
    dim, start, length = offset
    end = start + length
    for part in fused_slices(place, shape):
        part_dim, first, size = part.offset
        last = first + size
        if dim != part_dim or end <= first or start >= last or (start <= first and end >= last):
            continue
        return (
            f"it writes into rows {start}-{end - 1}, which tears the {part.names[0]} part of {place.layer} "
            f"(rows {first}-{last - 1})"
        )
    return ""
