"""Formats whose tensors are the change itself: whole differences, norms, IA3 and replaced weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ...errors import AdapterFormatError
from .base import (
    Adapter,
    Described,
    Ranges,
    RowCut,
    Shape,
    Tensors,
    all_zero,
    as_float,
    mismatch,
    require_weight,
    whole_cut,
)  # fmt: skip

if TYPE_CHECKING:
    from torch import Tensor


class WholeAdapter(Adapter):
    """``delta = the tensor``; the subclasses differ in the name and in what they change."""

    scaled_by_alpha = False
    role: ClassVar[str]
    replaces: ClassVar[bool] = False
    """Whether the tensor takes the place of the model's own instead of being added to it."""

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return self.role in shapes

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        shape = shapes[self.role]
        return Described(self.name, None, shape[0] if shape else None, shape[1] if len(shape) > 1 else None, shape[2:])

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        delta = as_float(tensors[self.role])
        if weight is not None and weight.numel() != delta.numel():
            raise mismatch("weight", list(delta.shape), list(weight.shape))
        return delta.reshape(weight.shape) if weight is not None else delta

    def is_dead(self, tensors: Tensors) -> bool:
        return all_zero(tensors[self.role])

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        return whole_cut(ranges, {self.role: (0, ranges)})


class DiffAdapter(WholeAdapter):
    """A whole difference of a weight (LyCORIS "full", ComfyUI ``LoraSave`` full_diff, Kijai's norms)."""

    name = "diff"
    suffixes: ClassVar[Mapping[str, str]] = {"diff": "diff", "diff.weight": "diff"}
    roles = frozenset({"diff"})
    role = "diff"


class DiffBiasAdapter(WholeAdapter):
    """A whole difference of a bias."""

    name = "diff_b"
    suffixes: ClassVar[Mapping[str, str]] = {
        "diff_b": "diff_b",
        "lora_B.bias": "diff_b",
        "lora_up.bias": "diff_b",
    }
    roles = frozenset({"diff_b"})
    role = "diff_b"
    parameter = "bias"


class NormWeightAdapter(WholeAdapter):
    """A whole difference of a normalisation's weight (LyCORIS)."""

    name = "norm"
    suffixes: ClassVar[Mapping[str, str]] = {"w_norm": "w_norm"}
    roles = frozenset({"w_norm"})
    role = "w_norm"


class NormBiasAdapter(WholeAdapter):
    """A whole difference of a normalisation's bias (LyCORIS)."""

    name = "norm_b"
    suffixes: ClassVar[Mapping[str, str]] = {"b_norm": "b_norm"}
    roles = frozenset({"b_norm"})
    role = "b_norm"
    parameter = "bias"


class SetAdapter(WholeAdapter):
    """A weight that replaces the model's: ``delta = S - W``."""

    name = "set"
    suffixes: ClassVar[Mapping[str, str]] = {"set_weight": "set_weight"}
    roles = frozenset({"set_weight"})
    role = "set_weight"
    replaces = True
    needs_weight = True

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        matrix, whole = require_weight(weight, "a replaced weight"), tensors[self.role]
        if matrix.shape != whole.shape:
            raise mismatch("weight", list(whole.shape), list(matrix.shape))
        return as_float(whole) - matrix

    def is_dead(self, tensors: Tensors) -> bool:
        return False  # a weight of zeros is a change


class SetBiasAdapter(SetAdapter):
    """A bias that replaces the model's (MiniMax-H3 acceleration LoRAs; ComfyUI reads it since pull request 15908)."""

    name = "set_b"
    suffixes: ClassVar[Mapping[str, str]] = {"set_bias": "set_bias"}
    roles = frozenset({"set_bias"})
    role = "set_bias"
    parameter = "bias"


class Ia3Adapter(Adapter):
    """``delta = W * w``, ``w`` along the rows or, with ``on_input``, along the columns (LyCORIS ``modules/ia3.py``).

    PEFT's ``ia3_l`` is the factor itself: ``delta = W * (l - 1)``.
    """

    name = "ia3"
    suffixes: ClassVar[Mapping[str, str]] = {
        "on_input": "on_input",
        "ia3_l": "ia3_l",
        "ia3_l.weight": "ia3_l",
    }
    roles = frozenset({"on_input", "ia3_weight", "ia3_l"})
    needs_weight = True
    scaled_by_alpha = False

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return "ia3_weight" in shapes or "ia3_l" in shapes

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        if "ia3_l" in shapes:
            return Described("ia3", note="written by PEFT: its shape says whether rows or columns are scaled")
        size = shapes["ia3_weight"][0] if shapes["ia3_weight"] else None
        return Described("ia3", None, size)

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        matrix = require_weight(weight, "IA3")
        if "ia3_weight" not in tensors:
            return matrix * (peft_ia3_factor(tensors["ia3_l"], tuple(matrix.shape)) - 1)
        factor = as_float(tensors["ia3_weight"]).flatten()
        on_input = "on_input" in tensors and bool(as_float(tensors["on_input"]).any())
        dim = 1 if on_input else 0
        if matrix.dim() <= dim or matrix.shape[dim] != factor.numel():
            raise mismatch("weight", f"{factor.numel()} {'columns' if on_input else 'rows'}", list(matrix.shape))
        return matrix * factor.reshape(*[-1 if d == dim else 1 for d in range(matrix.dim())])

    def is_dead(self, tensors: Tensors) -> bool:
        if "ia3_weight" in tensors:
            return all_zero(tensors["ia3_weight"])
        return bool((as_float(tensors["ia3_l"]) == 1).all())

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        role = "ia3_l" if "ia3_l" in shapes else "ia3_weight"
        vector = shapes.get(role, ())
        if len(vector) != 2 or 1 not in vector:
            return super().row_cuts(shapes, ranges)  # only a number inside says whether it scales rows or columns
        return whole_cut(ranges, {role: (0, ranges)} if vector[1] == 1 else {})


def directed(shapes: Mapping[str, Shape], on_input: bool) -> Mapping[str, Shape]:
    """Shapes of which that of LyCORIS' vector says what it scales, as PEFT's do: [n, 1] rows, [1, n] columns."""
    count = math.prod(shapes.get("ia3_weight", ()))
    return {**shapes, "ia3_weight": (1, count) if on_input else (count, 1)} if "ia3_weight" in shapes else shapes


def peft_ia3_dims(vector: Shape, weight: Shape) -> list[int]:
    """The dimensions of a weight that PEFT's IA3 vector may scale.

    A linear layer's vector is [1, in] or [out, 1] and says itself which; a convolution's is [1, n, 1, 1] for both, so
    that two dimensions come back where rows and columns are equally many.
    """
    count = math.prod(vector)
    fits = [dim for dim in (0, 1) if dim < len(weight) and weight[dim] == count]
    if len(weight) == 2 and len(vector) == 2:
        fits = [dim for dim in fits if vector[dim] == count]
    return fits


def peft_ia3_factor(vector: Tensor, weight: Shape) -> Tensor:
    """PEFT's IA3 vector, shaped so that it multiplies a weight of this shape.

    Raises:
        AdapterFormatError: it fits neither rows nor columns, or both.
    """
    fits = peft_ia3_dims(tuple(vector.shape), weight)
    if len(fits) != 1:
        size = " x ".join(map(str, weight))
        raise AdapterFormatError(f"scales {vector.numel()} rows or columns, the weight is {size}")
    return as_float(vector).reshape(*[-1 if dim == fits[0] else 1 for dim in range(len(weight))])
