"""What one file changes of one weight: as factors where there are some, so that the product is never built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..bake.merge_layer import Weight, part_rank, read_part, side_by_side, summed
from ..bake.merge_plan import Blend
from ..errors import PatchbayError
from ..files.reader import TensorReader

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Change:
    """A change at the strength of its file, float64: either two factors or the whole."""

    up: Tensor | None = None
    """[out, rank]."""
    down: Tensor | None = None
    """[rank, columns], the kernel counted as columns."""
    whole: Tensor | None = None
    """[out, columns]."""

    def dot(self, other: Change) -> float:
        """``sum(A * B)``, by Gram matrices where both have factors."""
        if self.up is not None and self.down is not None and other.up is not None and other.down is not None:
            return float(((self.up.T @ other.up) * (self.down @ other.down.T)).sum())
        if self.up is None:
            assert self.whole is not None
            return other.dot_whole(self.whole)
        assert other.whole is not None
        return self.dot_whole(other.whole)

    def dot_whole(self, matrix: Tensor) -> float:
        """``sum(A * M)`` for a matrix [out, columns]."""
        if self.up is not None and self.down is not None:
            return float((self.up * (matrix.to(self.down.dtype) @ self.down.T)).sum())
        assert self.whole is not None
        return float((self.whole * matrix.to(self.whole.dtype)).sum())

    def rows(self, part: slice) -> Change:
        """Some of its rows."""
        if self.up is not None:
            return Change(self.up[part], self.down)
        assert self.whole is not None
        return Change(whole=self.whole[part])

    def dense(self) -> Tensor:
        """The whole change, [out, columns]."""
        if self.up is not None and self.down is not None:
            return self.up @ self.down
        assert self.whole is not None
        return self.whole

    @property
    def norm(self) -> float:
        """Frobenius norm."""
        return math.sqrt(max(self.dot(self), 0.0))


def file_change(
    blend: Blend, source: int, readers: Sequence[TensorReader], weight: Weight = lambda key: None
) -> Change | None:
    """What file ``source`` changes of the weight; ``None`` where it has no such layer.

    Raises:
        PatchbayError: its format depends on the weight, which cannot be read.
    """
    parts = tuple(part for part in blend.parts if part.source == source)
    if not parts:
        return None
    if any("reshape" in part.shapes for part in parts):
        raise PatchbayError(f"{blend.name}: makes the weight larger, so there is nothing to compare it with.")
    own = replace(blend, parts=parts)
    layers = [read_part(part, own, readers[part.source]) for part in parts]
    if len(blend.shape) > 1 and all(part_rank(part) for part in parts):
        up, down = side_by_side(own, layers)
        return Change(up.double(), down.double())
    whole = summed(own, layers, weight).double()
    return Change(whole=whole.reshape(whole.shape[0], -1) if whole.dim() > 1 else whole.reshape(1, -1))
