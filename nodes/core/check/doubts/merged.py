"""Adapters of q, k and v that were merged into one of their ranks together, with the alpha of one of them.

A merged up matrix is block-diagonal: each row uses the columns of one part. musubi-tuner's converter multiplies alpha
by the number of parts; sd-scripts' (issue 2204) leaves it, so that the layer is that many times too weak.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from ...files.peek import Peek
from ...lora.file import LoraFile, LoraLayer
from ...report.report import Doubt

_MOST_PARTS = 8
_ROWS = 64
"""Rows that are looked at in each matrix."""
_LAYERS = 4
"""Layers of one rank that are looked at; the blocks of a model are alike."""


def merged_alpha(file: LoraFile) -> Doubt | None:
    """Whether layers are block-diagonal with the alpha of one part."""
    loras = [x for x in file.layers if x.format == "lora" and x.rank and "alpha" in x.roles and x.alpha]
    scales: dict[int, set[float]] = defaultdict(set)
    alike: dict[tuple[int, float], list[LoraLayer]] = defaultdict(list)
    for layer in loras:
        scales[layer.rank or 0].add(layer.scale)
        alike[layer.rank or 0, layer.scale].append(layer)
    suspects: dict[tuple[int, int], list[LoraLayer]] = defaultdict(list)
    for (rank, scale), layers in alike.items():
        for parts in range(2, _MOST_PARTS + 1):
            if _may_be(rank, scale, parts, scales, file):
                suspects[rank, parts].extend(layers)
    if not suspects:
        return None
    with Peek(file.header) as peek:
        for (rank, parts), layers in suspects.items():
            found = [x for x in layers[:_LAYERS] if is_block_diagonal(file, peek, x, parts)]
            if found:
                return Doubt(
                    "merged_alpha",
                    f"layers such as {found[0].name[:100]} are block-diagonal, {parts} adapters of rank "
                    f"{rank // parts} in one of rank {rank}, with the alpha of one part: they are {parts} times too "
                    "weak",
                )
    return None


def _may_be(rank: int, scale: float, parts: int, scales: Mapping[int, set[float]], file: LoraFile) -> bool:
    """Whether the numbers allow that ``parts`` adapters were merged and the alpha is that of one."""
    if rank % parts:
        return False
    one = rank // parts
    whole = scale * parts
    # A layer that is no merge tells the scale of the file; else an alpha equal to the rank of one part does.
    if one in scales:
        return any(math.isclose(other, whole, rel_tol=1e-3) for other in scales[one])
    if file.header.metadata.get("ss_network_dim") == str(one):
        return True
    return math.isclose(whole, 1.0, rel_tol=1e-3)


def is_block_diagonal(file: LoraFile, peek: Peek, layer: LoraLayer, parts: int) -> bool:
    """Whether each row of the up matrix uses the columns of one part, in order, and every part has rows."""
    key = layer.roles["up"]
    rows = file.header.tensors[key].shape[0]
    step = max(1, rows // _ROWS)
    last, seen = 0, set[int]()
    for row in range(step // 2, rows, step):
        held = peek.row_parts(key, row, parts)
        if held is None or sum(held) > 1:
            return False
        if any(held):
            part = held.index(True)
            if part < last:
                return False
            last = part
            seen.add(part)
    return len(seen) == parts
