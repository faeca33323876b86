"""Formats whose tensors are the change itself: whole differences, norms, IA3 and replaced weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from .base import Adapter, Described, Shape, Tensors, all_zero, as_float, mismatch, require_weight

if TYPE_CHECKING:
    from torch import Tensor


class WholeAdapter(Adapter):
    """``delta = the tensor``; the subclasses differ in the name and in what they change."""

    scaled_by_alpha = False
    role: ClassVar[str]

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return self.role in shapes

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        shape = shapes[self.role]
        return Described(
            self.name, None, shape[0] if shape else None, shape[1] if len(shape) > 1 else None, shape[2:]
        )

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        delta = as_float(tensors[self.role])
        if weight is not None and weight.numel() != delta.numel():
            raise mismatch("weight", list(delta.shape), list(weight.shape))
        return delta.reshape(weight.shape) if weight is not None else delta

    def is_dead(self, tensors: Tensors) -> bool:
        return all_zero(tensors[self.role])


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
    needs_weight = True

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        matrix = require_weight(weight, "a replaced weight")
        if matrix.shape != tensors["set_weight"].shape:
            raise mismatch("weight", list(tensors["set_weight"].shape), list(matrix.shape))
        return as_float(tensors["set_weight"]) - matrix

    def is_dead(self, tensors: Tensors) -> bool:
        return False  # a weight of zeros is a change


class Ia3Adapter(Adapter):
    """``delta = W * w``, ``w`` along the rows or, with ``on_input``, along the columns (LyCORIS ``modules/ia3.py``)."""

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
            return Described(
                "ia3", note="written by PEFT; whether rows or columns are scaled is not in the file"
            )
        size = shapes["ia3_weight"][0] if shapes["ia3_weight"] else None
        return Described("ia3", None, size)

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        matrix = require_weight(weight, "IA3")
        if "ia3_weight" not in tensors:
            raise mismatch("IA3", "weight and on_input as LyCORIS writes them", "PEFT's ia3_l")
        factor = as_float(tensors["ia3_weight"]).flatten()
        on_input = "on_input" in tensors and bool(as_float(tensors["on_input"]).any())
        dim = 1 if on_input else 0
        if matrix.dim() <= dim or matrix.shape[dim] != factor.numel():
            raise mismatch(
                "weight", f"{factor.numel()} {'columns' if on_input else 'rows'}", list(matrix.shape)
            )
        return matrix * factor.reshape(*[-1 if d == dim else 1 for d in range(matrix.dim())])

    def is_dead(self, tensors: Tensors) -> bool:
        return "ia3_weight" in tensors and all_zero(tensors["ia3_weight"])
