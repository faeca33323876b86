"""How far two weights lie apart, and how far one of them moved in the directions that a LoRA edits.

Everything is computed one weight at a time, over blocks of rows, so that two models never have to be copied. Sums run
in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import AdapterFormatError

if TYPE_CHECKING:
    from torch import Tensor

CHUNK_ELEMENTS = 1 << 22
"""Elements of a weight that are converted at a time (16 MiB in float32)."""


@dataclass(frozen=True)
class Distance:
    """Squared Frobenius norms of a weight, of its counterpart's difference from it, and how many were summed."""

    base: float = 0.0
    """``|W_a|^2``."""
    moved: float = 0.0
    """``|W_b - W_a|^2``."""
    weights: int = 0

    @property
    def relative(self) -> float | None:
        """``|W_b - W_a| / |W_a|``; ``None`` where ``W_a`` is all zero or nothing was compared."""
        return math.sqrt(self.moved / self.base) if self.base else None

    def __add__(self, other: Distance) -> Distance:
        return Distance(self.base + other.base, self.moved + other.moved, self.weights + other.weights)


@dataclass(frozen=True)
class Shift:
    """What the step from one weight to another means for the directions of a LoRA; sums of squares and products.

    With ``D = W_b - W_a``, ``dW = scale * up @ down``, ``U`` an orthonormal basis of the columns of ``up`` and ``V``
    one of the rows of ``down``.
    """

    projected_base: float = 0.0
    """``|U^T W_a V|^2``."""
    projected_moved: float = 0.0
    """``|U^T D V|^2``."""
    base: float = 0.0
    """``|W_a|^2`` over the weights that the LoRA edits."""
    moved: float = 0.0
    """``|D|^2`` over the same."""
    delta: float = 0.0
    """``|dW|^2``."""
    inner: float = 0.0
    """``<dW, D>``."""
    layers: int = 0

    @property
    def direction_shift(self) -> float | None:
        """``|U^T D V| / |U^T W_a V|``: how far the edited directions moved, relative to what they were."""
        return math.sqrt(self.projected_moved / self.projected_base) if self.projected_base else None

    @property
    def excess(self) -> float | None:
        """Direction shift over the relative distance of the same weights; above 1 the edited directions moved more."""
        if self.direction_shift is None or not self.moved:
            return None
        return self.direction_shift / math.sqrt(self.moved / self.base)

    @property
    def cosine(self) -> float | None:
        """``<dW, D> / (|dW| |D|)`` in -1..1: negative where the LoRA undoes the step, positive where it repeats it."""
        if not self.moved or not self.delta:
            return None
        return max(-1.0, min(1.0, self.inner / math.sqrt(self.delta * self.moved)))

    def __add__(self, other: Shift) -> Shift:
        return Shift(
            self.projected_base + other.projected_base,
            self.projected_moved + other.projected_moved,
            self.base + other.base,
            self.moved + other.moved,
            self.delta + other.delta,
            self.inner + other.inner,
            self.layers + other.layers,
        )


def weight_distance(weight_a: Tensor, weight_b: Tensor) -> Distance:
    """How far ``weight_b`` lies from ``weight_a``.

    Raises:
        AdapterFormatError: the two have different shapes.
    """
    _same_shape(weight_a, weight_b)
    base = moved = 0.0
    for a, b in _row_pairs(weight_a, weight_b):
        base += _squares(a)
        moved += _squares(b - a)
    return Distance(base, moved, 1)


def weight_shift(weight_a: Tensor, weight_b: Tensor, up: Tensor, down: Tensor, scale: float) -> Shift:
    """What the step from ``weight_a`` to ``weight_b`` means for the low-rank edit ``scale * up @ down``.

    Args:
        weight_a: [out, in, *kernel], the weight that the LoRA was made for (its slice, where it edits a slice).
        weight_b: The same of the other model.
        up: [out, rank, 1...].
        down: [rank, in, *kernel].

    Raises:
        AdapterFormatError: the shapes do not belong together.

    Source: the amplification factor of the LoRA paper (2106.09685, section 7) with D in the place of W.
    """
    _same_shape(weight_a, weight_b)
    import torch

    b, a = up.flatten(1).to(torch.float64), down.flatten(1).to(torch.float64)
    rows, columns = weight_a.shape[0], math.prod(weight_a.shape[1:])
    if b.shape[0] != rows or a.shape[1] != columns or b.shape[1] != a.shape[0]:
        raise AdapterFormatError(f"up {tuple(up.shape)} and down {tuple(down.shape)} do not fit {rows} x {columns}")
    left, right = _basis(b), _basis(a.T)
    # One product for each weight: the rows of ``down`` and their orthonormal basis side by side.
    probe = torch.cat([right, a.T], dim=1).to(torch.float32)
    width = right.shape[1]
    projected = torch.zeros(2, left.shape[1], width, dtype=torch.float64)
    total = [0.0, 0.0, 0.0]
    start = 0
    for rows_a, rows_b in _row_pairs(weight_a, weight_b):
        rows_a, difference = rows_a.flatten(1), (rows_b - rows_a).flatten(1)
        part = slice(start, start + rows_a.shape[0])
        start = part.stop
        seen_a, seen_d = (rows_a @ probe[:, :width]).double(), (difference @ probe).double()
        projected[0] += left[part].T @ seen_a
        projected[1] += left[part].T @ seen_d[:, :width]
        total[0] += _squares(rows_a)
        total[1] += _squares(difference)
        total[2] += float((b[part] * seen_d[:, width:]).sum())
    delta = float(((b.T @ b) * (a @ a.T)).sum().clamp(min=0.0))
    return Shift(
        projected_base=_squares(projected[0]),
        projected_moved=_squares(projected[1]),
        base=total[0],
        moved=total[1],
        delta=scale * scale * delta,
        inner=scale * total[2],
        layers=1,
    )


def add_up(items: Iterable[tuple[str, Distance]]) -> dict[str, Distance]:
    """Distances by block, root-sum-square over the weights of each, in the order in which blocks come."""
    totals: dict[str, Distance] = {}
    for block, distance in items:
        totals[block] = totals.get(block, Distance()) + distance
    return totals


def _basis(matrix: Tensor) -> Tensor:
    """Orthonormal basis of the columns, as many as the rank really is."""
    import torch

    if not matrix.numel() or not bool(matrix.any()):
        return matrix[:, :0]
    vectors, values, _ = torch.linalg.svd(matrix, full_matrices=False)
    tolerance = values[0] * max(matrix.shape) * torch.finfo(torch.float64).eps
    return vectors[:, values > tolerance]


def _same_shape(weight_a: Tensor, weight_b: Tensor) -> None:
    if weight_a.shape != weight_b.shape:
        raise AdapterFormatError(f"shapes differ: {tuple(weight_a.shape)} and {tuple(weight_b.shape)}")


def _row_pairs(weight_a: Tensor, weight_b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of rows of both weights, on the CPU in float32."""
    if weight_a.dim() == 0:
        weight_a, weight_b = weight_a.reshape(1), weight_b.reshape(1)
    columns = max(1, math.prod(weight_a.shape[1:]))
    step = max(1, CHUNK_ELEMENTS // columns)
    for start in range(0, weight_a.shape[0], step):
        yield _plain(weight_a[start : start + step]), _plain(weight_b[start : start + step])


def _plain(rows: Tensor) -> Tensor:
    import torch

    return rows.detach().to(device="cpu", dtype=torch.float32)


def _squares(values: Tensor) -> float:
    import torch

    return float(torch.linalg.vector_norm(values.reshape(-1), dtype=torch.float64)) ** 2
