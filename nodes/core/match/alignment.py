"""Which block of one model became which block of another: measured from the weights of the two.

A model that was made by inserting or removing blocks keeps the order of the others, and their weights stay close to
what they were even after training, while two different blocks of one model have next to nothing in common: their
cosine is that of random directions, about ``1 / sqrt(elements)``. So the map is the monotone alignment with the
largest sum of cosines, found by dynamic programming as for two sequences (Needleman and Wunsch 1970, without a
price for gaps on the longer side).

A few rows of each weight are enough and are all that is read; one layer of all blocks is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BlockMapError
from ..files.numbers import UnreadableNumbers
from ..model.block_map import BlockMap, checked_map
from ..model.blocks import BlockLayout
from ..model.family import Family

Array = Any
"""A numpy array."""

Sample = Callable[[str], Array]
"""Elements of a weight by its name, the same ones for every weight of that shape; raises ``UnreadableNumbers``."""

ROWS, COLUMNS = 8, 2048
"""What is read of a weight: rows at equal distances, and the beginning of each."""

_LEAST_COSINE, _LEAST_MARGIN = 0.1, 0.05
"""Below this a pair of blocks is not one block in two models."""


@dataclass(frozen=True)
class Pairing:
    """One block of the one model and its counterpart in the other."""

    kind: str
    old: int
    new: int
    cosine: float
    """Mean cosine of their weights."""
    runner_up: float
    """The largest cosine that either of them has with another block."""


@dataclass(frozen=True)
class MeasuredMap:
    """A map with what it was measured from."""

    block_map: BlockMap
    pairs: tuple[Pairing, ...]
    family: Family | None = None
    """Of the two models, where it is known."""

    @property
    def worst(self) -> Pairing:
        """The pair that stands out least."""
        return min(self.pairs, key=lambda pair: pair.cosine - pair.runner_up)


def sample_runs(shape: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Start and length of the runs of elements that are compared of a weight of this shape."""
    rows, columns = shape[0], math.prod(shape[1:])
    for row in sorted({(2 * step + 1) * rows // (2 * ROWS) for step in range(ROWS)}):
        yield row * columns, min(columns, COLUMNS)


def measure_map(
    old: Mapping[str, tuple[int, ...]], sample_old: Sample, new: Mapping[str, tuple[int, ...]], sample_new: Sample
) -> MeasuredMap:
    """The map from the blocks of one model to those of another.

    Args:
        old: Shapes of the weights of the model that a LoRA was made for, by the model's own names.
        new: The same of the model that it is to be used on, in the same spelling.

    Raises:
        BlockMapError: they have no container in common or as many blocks, no layer of one shape, or blocks that do
            not resemble each other enough to say which is which.
    """
    depths, others = BlockLayout(old), BlockLayout(new)
    kinds = [kind for kind, count in depths.kinds.items() if others.kinds.get(kind, count) != count]
    if not kinds:
        shared = [kind for kind in depths.kinds if kind in others.kinds]
        if shared:
            counts = ", ".join(f"{depths.kinds[kind]} {kind}" for kind in shared)
            raise BlockMapError(f"block map: both models have {counts}; there is nothing to map.")
        raise BlockMapError("block map: the two files have no container of blocks in common.")
    found: dict[str, dict[int, int | None]] = {}
    pairs: list[Pairing] = []
    for kind in kinds:
        cosines = _cosines(kind, (old, sample_old), (new, sample_new))
        aligned = align(cosines)
        pairs += [_pairing(kind, cosines, i, j) for i, j in aligned]
        found[kind] = {index: dict(aligned).get(index) for index in range(cosines.shape[0])}
    measured = MeasuredMap(checked_map(found), tuple(pairs))
    _check(measured)
    return measured


def align(scores: Array) -> list[tuple[int, int]]:
    """The monotone pairs ``(row, column)`` with the largest sum of scores; every line of the shorter side has one."""
    rows, columns = scores.shape
    if rows > columns:
        return [(i, j) for j, i in align(scores.T)]
    # best[i, j]: rows from i on, columns from j on
    best = np.full((rows + 1, columns + 1), -np.inf)
    best[rows] = 0.0
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            best[i, j] = max(scores[i, j] + best[i + 1, j + 1], best[i, j + 1])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < rows:
        if scores[i, j] + best[i + 1, j + 1] >= best[i, j + 1]:
            pairs.append((i, j))
            i += 1
        j += 1
    return pairs


def _cosines(
    kind: str, old: tuple[Mapping[str, tuple[int, ...]], Sample], new: tuple[Mapping[str, tuple[int, ...]], Sample]
) -> Array:
    """Mean cosine of every block of the one with every block of the other, [old, new]."""
    layers, others = _layers(kind, old[0]), _layers(kind, new[0])
    count, other_count = (1 + max(max(x) for x in side.values()) for side in (layers, others))
    total = np.zeros((count, other_count))
    compared = 0
    for layer, keys in layers.items():
        other_keys = others.get(layer, {})
        shapes = {old[0][key] for key in keys.values()} | {new[0][key] for key in other_keys.values()}
        if len(keys) != count or len(other_keys) != other_count or len(shapes) != 1:
            continue
        try:
            left = _directions(old[1], [keys[i] for i in range(count)])
            right = _directions(new[1], [other_keys[i] for i in range(other_count)])
        except UnreadableNumbers:
            continue
        total += left @ right.T
        compared += 1
    if not compared:
        raise BlockMapError(
            f"block map: no layer of {kind} has the same name, shape and a readable form in both files; compare files "
            "of the same layout, unquantised or in fp8."
        )
    return total / compared


def _layers(kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[int, str]]:
    """Weights of at least two sides in a container: path inside the block to block number to key."""
    found: dict[str, dict[int, str]] = {}
    for key, shape in shapes.items():
        if len(shape) < 2 or not key.startswith(f"{kind}."):
            continue
        number, _, path = key[len(kind) + 1 :].partition(".")
        if number.isdigit():
            found.setdefault(path, {})[int(number)] = key
    return found


def _directions(sample: Sample, keys: list[str]) -> Array:
    """Samples of one layer of all blocks, each of length 1, [blocks, elements]; all zero stays so."""
    matrix = np.stack([np.asarray(sample(key), dtype=np.float32) for key in keys])
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(norms > 0, norms, 1.0)


def _pairing(kind: str, cosines: Array, i: int, j: int) -> Pairing:
    others = [*np.delete(cosines[i], j), *np.delete(cosines[:, j], i)]
    return Pairing(kind, i, j, float(cosines[i, j]), float(max(others, default=0.0)))


def _check(measured: MeasuredMap) -> None:
    worst = measured.worst
    least = min(measured.pairs, key=lambda pair: pair.cosine)
    if least.cosine < _LEAST_COSINE:
        raise BlockMapError(
            f"block map: {least.kind}.{least.new} of the second model resembles no block of the first (cosine "
            f"{least.cosine:.2f} with block {least.old}, the best in order): it was not made from the first."
        )
    if worst.cosine - worst.runner_up < _LEAST_MARGIN:
        raise BlockMapError(
            f"block map: {worst.kind}.{worst.old} and {worst.new} resemble each other (cosine {worst.cosine:.3f}) no "
            f"more than other blocks do ({worst.runner_up:.3f}), so which is which cannot be measured."
        )
