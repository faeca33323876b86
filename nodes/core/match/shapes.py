"""Does one layer of a LoRA fit one weight? Asked of shapes alone, before a tensor is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..lora.adapters.diff import WholeAdapter, peft_ia3_dims
from ..lora.file import LoraLayer

Shape = tuple[int, ...]


def slice_shape(shape: Shape, offset: tuple[int, int, int] | None) -> Shape:
    """The shape of a weight, or of its slice ``(dim, start, length)``."""
    if offset is None or offset[0] >= len(shape):
        return shape
    dim, _, length = offset
    return (*shape[:dim], length, *shape[dim + 1 :])


def misfit(
    layer: LoraLayer,
    tensors: Mapping[str, Shape],
    weight: Shape,
    offset: tuple[int, int, int] | None = None,
    on_input: bool = False,
) -> str:
    """Why a layer cannot change a weight, or an empty text if it can.

    Args:
        tensors: Shapes of the layer's tensors by role.
        weight: Shape of the whole weight.
        offset: ``(dim, start, length)`` of the slice that the layer is for, or ``None``.
        on_input: Whether an IA3 vector of LyCORIS scales columns.
    """
    if offset is not None and (offset[0] >= len(weight) or offset[1] + offset[2] > weight[offset[0]]):
        return f"expects rows {offset[1]}-{offset[1] + offset[2] - 1} of a weight of shape {_text(weight)}"
    weight = slice_shape(weight, offset)
    kind = layer.adapter.name if layer.adapter is not None else ""
    if isinstance(layer.adapter, WholeAdapter):
        problem = _misfit_whole(tensors[layer.adapter.role], weight)
        return another_shape(tensors[layer.adapter.role], weight) if problem and layer.adapter.replaces else problem
    if not weight:
        return f"{kind} is for a matrix, the weight is a single number"
    if kind == "ia3":
        return _misfit_ia3(tensors, weight, on_input)
    rows, columns = layer.out_features, layer.in_features
    columns = columns * math.prod(layer.kernel) if columns is not None else None
    if "reshape" in tensors:
        grows = rows is not None and columns is not None and rows >= weight[0] and columns >= math.prod(weight[1:])
        return "" if grows else f"is for a weight that can grow to {rows} x {columns}, the weight has {_text(weight)}"
    found = math.prod(weight[1:])
    if kind == "oft_2" and columns is None:
        size = layer.rank or 1
        return "" if found % size == 0 else f"turns columns in blocks of {size}, the weight has {found}"
    if (rows is not None and rows != weight[0]) or (columns is not None and columns != found):
        wanted = " x ".join("any" if side is None else str(side) for side in (rows, columns))
        return f"changes a weight of {wanted}, the model's is {_text(weight)}"
    return ""


def another_shape(shape: Shape, weight: Shape) -> str:
    """Why a replacement of another shape cannot land: ComfyUI does it since pull request 15908."""
    return (
        f"replaces a parameter of shape {_text(weight)} by one of {_text(shape)}: your ComfyUI is too old for this, "
        "0.34 and later can change the shape"
    )


def _misfit_whole(shape: Shape, weight: Shape) -> str:
    longer, shorter = (shape, weight) if len(shape) > len(weight) else (weight, shape)
    # A linear layer and a 1x1 convolution hold the same numbers.
    if longer[: len(shorter)] == shorter and all(size == 1 for size in longer[len(shorter) :]):
        return ""
    return f"has shape {_text(shape)}, the weight has {_text(weight)}"


def _misfit_ia3(tensors: Mapping[str, Shape], weight: Shape, on_input: bool) -> str:
    if "ia3_l" in tensors:
        count = math.prod(tensors["ia3_l"])
        fits = peft_ia3_dims(tensors["ia3_l"], weight)
        return "" if len(fits) == 1 else f"scales {count} rows or columns, the weight is {_text(weight)}"
    found, side = math.prod(tensors["ia3_weight"]), "columns" if on_input else "rows"
    wanted = weight[min(1 if on_input else 0, len(weight) - 1)]
    return "" if found == wanted else f"scales {found} {side}, the weight has {wanted}"


def _text(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape) or "a single number"
