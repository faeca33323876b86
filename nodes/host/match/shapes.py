"""Does one patch fit one weight? Asked before anything is patched: ComfyUI finds out late, and only in the log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from ...core.match.shapes import another_shape
from .dry_run import contradiction, sets_another_shape
from .stock import ODD_TENSORS, PatchValue, is_adapter, patch_tensors
from .writer_adapters import WriterAdapter

Shape = tuple[int, ...]


def misfit(value: PatchValue, weight_shape: Shape, offset: tuple[int, int, int] | None) -> str:
    """Why a patch cannot be applied to a weight, or an empty text if it can.

    Args:
        value: A patch as ``load_lora`` makes it.
        weight_shape: Shape of the whole weight.
        offset: ``(dim, start, length)`` of the slice that the patch is for, or ``None``.
    """
    if offset is not None:
        dim, start, length = offset
        if dim >= len(weight_shape) or start + length > weight_shape[dim]:
            return f"expects rows {start}-{start + length - 1} of a weight of shape {_text(weight_shape)}"
        weight_shape = (*weight_shape[:dim], length, *weight_shape[dim + 1 :])
    if isinstance(value, WriterAdapter):
        return value.misfit(weight_shape)
    if not is_adapter(value):
        return _misfit_plain(value, weight_shape)
    shape = weight_shape
    if value.name == "lora" and value.weights[5] is not None:
        problem = _misfit_reshape(value.weights[5], weight_shape)
        if problem:
            return problem
        weight_shape = tuple(value.weights[5])
    try:
        rows, size = _delta_size(value)
    except ODD_TENSORS as error:
        return f"its {value.name} tensors contradict each other ({error})"
    if rows is not None and (not weight_shape or rows != weight_shape[0]):
        return _mismatch(rows, size, weight_shape)
    if size is not None and size != math.prod(weight_shape):
        return _mismatch(rows, size, weight_shape)
    return "" if is_product(value) else contradiction(value, shape)


def is_product(value: PatchValue) -> bool:
    """Whether a patch adds the product of two factors and nothing else; the weight may be enlarged with zeros first."""
    if not is_adapter(value) or value.name != "lora" or any(value.weights[index] is not None for index in (3, 4)):
        return False
    up, down = value.weights[:2]
    if up.dim() < 2 or down.dim() < 2 or not down.shape[0]:
        return False
    return bool(up.shape[1] * math.prod(up.shape[2:]) == down.shape[0])


def is_dead(value: PatchValue) -> bool:
    """Whether a patch changes nothing at any strength because a factor of its product is all zero.

    Only formats whose delta is a product of their tensors can be dead; DoRA and ``set`` change the weight anyway.
    """
    if isinstance(value, list):
        return False
    if isinstance(value, WriterAdapter):
        return value.is_dead()
    if not is_adapter(value):
        return value[0] != "set" and all(_all_zero(tensor) for tensor in patch_tensors(value))
    if value.name == "lora" and value.weights[4] is None and value.weights[5] is None:
        return any(_all_zero(tensor) for tensor in value.weights[:2])
    if value.name == "loha" and value.weights[7] is None:
        return any(_all_zero(value.weights[index]) for index in (0, 1, 3, 4))
    if value.name == "lokr" and value.weights[8] is None:
        return any(_all_zero(value.weights[index]) for index in (0, 1, 3, 4, 5, 6) if value.weights[index] is not None)
    if value.name in ("oft", "boft") and value.weights[3] is None and value.weights[1] is None:
        return _all_zero(value.weights[0])
    return False


def _all_zero(tensor: torch.Tensor) -> bool:
    # Almost always the first element answers, and the rest of the file is not read.
    if tensor.numel() and tensor[(0,) * tensor.dim()].item() != 0:
        return False
    return not bool(torch.count_nonzero(tensor))


def _misfit_plain(value: Any, weight_shape: Shape) -> str:
    tensors = patch_tensors(value)
    if not tensors:
        return "holds no tensor"
    if value[0] == "set" and tuple(tensors[0].shape) != weight_shape:
        return "" if sets_another_shape() else another_shape(tuple(tensors[0].shape), weight_shape)
    if tuple(tensors[0].shape) != weight_shape:
        return f"has shape {_text(tensors[0].shape)}, the weight has {_text(weight_shape)}"
    return ""


def _misfit_reshape(new_shape: Sequence[int], weight_shape: Shape) -> str:
    if len(new_shape) != len(weight_shape) or any(new < old for new, old in zip(new_shape, weight_shape, strict=True)):
        return f"is for a weight that can grow to {_text(new_shape)}, the weight has {_text(weight_shape)}"
    return ""


def _mismatch(rows: int | None, size: int | None, weight_shape: Shape) -> str:
    if rows and size and size % rows == 0:
        return f"changes a weight of {rows} x {size // rows}, the model's is {_text(weight_shape)}"
    return f"changes a weight of another size than {_text(weight_shape)}"


def _text(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape) or "a single number"


def _delta_size(adapter: Any) -> tuple[int | None, int | None]:
    """Rows and number of elements of an adapter's delta; ``None`` where the format leaves them open."""
    weights = adapter.weights
    if getattr(adapter, "row_offset", None) is not None:
        return None, None  # ComfyUI 0.38: some rows of the product, of which its own dry run knows
    if adapter.name == "lora":
        return _lora_size(weights[0], weights[1], weights[3])
    if adapter.name == "loha":
        return _loha_size(weights)
    if adapter.name == "lokr":
        return _lokr_size(weights)
    if adapter.name == "glora":
        return _glora_rows(weights), None
    if adapter.name == "oft":
        return int(weights[0].shape[0] * weights[0].shape[1]), None
    if adapter.name == "boft":
        return int(weights[0].shape[1] * weights[0].shape[2]), None
    return None, None


def _lora_size(up: torch.Tensor, down: torch.Tensor, mid: torch.Tensor | None) -> tuple[int, int]:
    rows, rank = up.shape[0], math.prod(up.shape[1:])
    if mid is not None:
        _need(rank == mid.shape[0], f"up has rank {rank}, mid {mid.shape[0]}")
        _need(down.shape[0] == mid.shape[1], f"down has rank {down.shape[0]}, mid {mid.shape[1]}")
        return rows, rows * math.prod(down.shape[1:]) * math.prod(mid.shape[2:])
    _need(rank == down.shape[0], f"up has rank {rank}, down has rank {down.shape[0]}")
    return rows, rows * math.prod(down.shape[1:])


def _loha_size(weights: Sequence[Any]) -> tuple[int, int]:
    w1a, w1b, _, w2a, w2b, t1, _, _ = weights
    if t1 is not None:
        return int(w1a.shape[1]), int(w1a.shape[1] * w1b.shape[1] * math.prod(t1.shape[2:]))
    _need(w1a.shape[1] == w1b.shape[0], f"w1_a has rank {w1a.shape[1]}, w1_b {w1b.shape[0]}")
    _need(w1a.shape[0] == w2a.shape[0] and w1b.shape[1:] == w2b.shape[1:], "w1 and w2 have different shapes")
    return int(w1a.shape[0]), int(w1a.shape[0]) * math.prod(w1b.shape[1:])


def _lokr_size(weights: Sequence[Any]) -> tuple[int, int]:
    w1, w2, _, w1a, w1b, w2a, w2b, t2, _ = weights
    first = tuple(w1.shape) if w1 is not None else (w1a.shape[0], w1b.shape[1])
    if w2 is not None:
        second = tuple(w2.shape)
    elif t2 is not None:
        second = (w2a.shape[1], w2b.shape[1], *t2.shape[2:])
    else:
        second = (w2a.shape[0], *w2b.shape[1:])
    return first[0] * second[0], math.prod(first) * math.prod(second)


def _glora_rows(weights: Sequence[Any]) -> int | None:
    a1, a2, b1, b2 = weights[:4]
    if any(tensor.dim() < 2 for tensor in (a1, a2, b1, b2)):
        return None
    current = b2.shape[0] == b1.shape[1] == a1.shape[1] == a2.shape[0] <= a2.shape[1]
    return int(b1.shape[0] if current else b2.shape[0])  # early LyCORIS wrote all four transposed


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
