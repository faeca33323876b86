"""What every adapter format has in common. Nothing here imports torch before a tensor is computed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...errors import AdapterFormatError

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
Tensors = Mapping[str, "Tensor"]
"""The tensors of one layer by role (``up``, ``down``, ``lokr_w1``, ...)."""


@dataclass(frozen=True)
class Described:
    """What the shapes of one layer say."""

    format: str
    rank: int | None = None
    out_features: int | None = None
    """Rows of the weight it changes; ``None`` where the shapes do not tell."""
    in_features: int | None = None
    """Columns, the kernel not counted."""
    kernel: Shape = ()
    note: str = ""


Ranges = tuple[tuple[int, int], ...]
"""Rows ``(first, count)``, in the order in which they are wanted."""


@dataclass(frozen=True)
class RowCut:
    """Some rows of a layer's delta as a layer of its own, exactly: which rows of which tensors make them."""

    start: int
    """First row that it makes, counted in the rows that were asked for."""
    rows: int
    takes: Mapping[str, tuple[int, Ranges]]
    """Role to the dimension and the ranges that are kept; a role that is missing here is kept whole."""


@dataclass(frozen=True)
class Strength:
    """Size of a delta at strength 1."""

    delta_norm: float
    """Frobenius norm."""
    spectral_norm: float | None = None
    """Largest singular value of the delta as a matrix [out, in x kernel]; ``None`` where it would be costly."""


class Adapter(ABC):
    """One format: how to recognise it, what its shapes mean, and what it adds to a weight.

    A layer's tensors are keyed by role. ``suffixes`` maps the end of a key to its role; the same role may have
    many spellings. Instances carry no state.
    """

    name: ClassVar[str]
    suffixes: ClassVar[Mapping[str, str]]
    roles: ClassVar[frozenset[str]]
    """Roles that belong to this format alone, ``alpha`` and ``dora_scale`` aside."""
    needs_weight: ClassVar[bool] = False
    """Whether the delta depends on the model's own weight."""
    scaled_by_alpha: ClassVar[bool] = True
    """Whether alpha / rank scales the delta. OFT uses alpha as a constraint, diffs have none."""
    parameter: ClassVar[str] = "weight"
    """The parameter of the layer that is changed: ``weight`` or ``bias``."""

    @abstractmethod
    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether tensors of these roles make a layer of this format."""

    @abstractmethod
    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        """Rank and shape of the weight.

        Raises:
            AdapterFormatError: the shapes contradict each other.
        """

    @abstractmethod
    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        """What is added to the weight at strength 1, float32; [out, in, *kernel] or the shape of ``weight``.

        Raises:
            AdapterFormatError: the weight is needed and missing, or does not fit.
        """

    def strength(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Strength:
        """Norms of the delta; formats with an exact form override this and never build the product."""
        return dense_strength(self.delta(tensors, scale, weight))

    def norm(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> float:
        """The Frobenius norm alone: the largest singular value can cost a hundred times as much."""
        return dense_strength(self.delta(tensors, scale, weight), spectral=False).delta_norm

    def is_dead(self, tensors: Tensors) -> bool:
        """Whether the tensors change nothing, whatever the weight: a factor is all zero."""
        return False

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        """Some rows of the delta, for a weight that holds only these, or holds them in another order.

        Args:
            shapes: Of the layer's tensors by role.
            ranges: Rows of the delta, in the order in which they are wanted.

        Returns:
            One cut of all the rows, or several that follow each other.

        Raises:
            AdapterFormatError: the format has no exact form for these rows.
        """
        raise AdapterFormatError(f"{self.name} cannot be divided by rows")


def dense_strength(delta: Tensor, spectral: bool = True) -> Strength:
    """Norms of a delta that is at hand, or its Frobenius norm alone."""
    import torch

    norm = torch.linalg.vector_norm(delta.flatten(), dtype=torch.float64).item()
    if delta.dim() < 2:
        return Strength(norm, norm)
    if not math.isfinite(norm) or not spectral:
        return Strength(norm)
    matrix = delta.flatten(1)
    if min(matrix.shape) > 1024:
        return Strength(norm)
    return Strength(norm, matrix_spectral_norm(matrix))


def matrix_spectral_norm(matrix: Tensor) -> float:
    """Largest singular value, through the Gram matrix of the shorter side in float64."""
    import torch

    matrix = matrix.to(torch.float64)
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    return math.sqrt(max(torch.linalg.eigvalsh(gram)[-1].item(), 0.0))


def as_float(tensor: Tensor) -> Tensor:
    """float32; fp8 and integer tensors included."""
    import torch

    return tensor.to(torch.float32)


def as_double(tensor: Tensor) -> Tensor:
    """float64, for products of small matrices: float32 loses the smaller singular values."""
    import torch

    return tensor.to(torch.float64)


def all_zero(*tensors: Tensor | None) -> bool:
    """Whether one of the factors is all zero."""
    return any(t is not None and t.numel() and not bool(as_float(t).any()) for t in tensors)


def product(sizes: Shape) -> int:
    """Number of elements of a shape."""
    return math.prod(sizes)


def require_weight(weight: Tensor | None, what: str) -> Tensor:
    """The weight as float32.

    Raises:
        AdapterFormatError: there is none.
    """
    if weight is None:
        raise AdapterFormatError(f"{what} depends on the model's own weight, which is not available")
    return as_float(weight)


def count_rows(ranges: Ranges) -> int:
    """Number of rows in some ranges."""
    return sum(count for _, count in ranges)


def whole_cut(ranges: Ranges, takes: Mapping[str, tuple[int, Ranges]]) -> tuple[RowCut, ...]:
    """All the rows that were asked for in one cut."""
    return (RowCut(0, count_rows(ranges), takes),)


def in_units(ranges: Ranges, unit: int) -> Ranges | None:
    """The ranges counted in blocks of ``unit`` rows, or ``None`` where one begins or ends inside a block."""
    if any(first % unit or count % unit for first, count in ranges):
        return None
    return tuple((first // unit, count // unit) for first, count in ranges)


def mismatch(what: str, expected: object, found: object) -> AdapterFormatError:
    """The error for shapes that contradict each other."""
    return AdapterFormatError(f"{what}: expected {expected}, found {found}; the file is inconsistent")
