"""Does one patch fit one weight? Asked before anything is patched: ComfyUI finds out late, and only in the log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from ...core.lora.dead import FACTORS
from ...core.match.shapes import another_shape
from .dry_run import contradiction, sets_another_shape
from .roles import ODD_TENSORS, Parts, is_current_glora

Shape = tuple[int, ...]


def misfit(parts: Parts, weight_shape: Shape, offset: tuple[int, int, int] | None) -> str:
    """Why a patch cannot be applied to a weight, or an empty text if it can.

    Args:
        weight_shape: Shape of the whole weight.
        offset: ``(dim, start, length)`` of the slice that the patch is for, or ``None``.
    """
    if offset is not None:
        dim, start, length = offset
        if dim >= len(weight_shape) or start + length > weight_shape[dim]:
            return f"expects rows {start}-{start + length - 1} of a weight of shape {_text(weight_shape)}"
        weight_shape = (*weight_shape[:dim], length, *weight_shape[dim + 1 :])
    if parts.by_writer:
        return parts.value.misfit(weight_shape)
    if not parts.is_adapter:
        return _misfit_plain(parts, weight_shape)
    shape = weight_shape
    if parts.new_shape is not None:
        problem = _misfit_reshape(parts.new_shape, weight_shape)
        if problem:
            return problem
        weight_shape = parts.new_shape
    try:
        rows, size = _delta_size(parts)
    except ODD_TENSORS as error:
        return f"its {parts.kind} tensors contradict each other ({error})"
    if rows is not None and (not weight_shape or rows != weight_shape[0]):
        return _mismatch(rows, size, weight_shape)
    if size is not None and size != math.prod(weight_shape):
        return _mismatch(rows, size, weight_shape)
    return "" if parts.is_product else contradiction(parts.value, shape)


def is_dead(parts: Parts) -> bool:
    """Whether a patch changes nothing at any strength because a factor of its product is all zero.

    Only formats whose delta is a product of their tensors can be dead; DoRA and ``set`` change the weight anyway.
    """
    if parts.by_writer:
        return parts.value.is_dead()
    if not parts.is_adapter:
        return parts.kind not in ("set", "model") and all(_all_zero(tensor) for tensor in parts.tensors.values())
    if parts.magnitude is not None or parts.new_shape is not None or "rescale" in parts.tensors:
        return False
    factors = FACTORS.get(parts.kind, ())
    return any(_all_zero(parts.tensors[role]) for role in factors if role in parts.tensors)


def _all_zero(tensor: torch.Tensor) -> bool:
    # Almost always the first element answers, and the rest of the file is not read.
    if tensor.numel() and tensor[(0,) * tensor.dim()].item() != 0:
        return False
    return not bool(torch.count_nonzero(tensor))


def _misfit_plain(parts: Parts, weight_shape: Shape) -> str:
    if parts.kind == "model":
        return ""  # two weights of the same model's kind: their difference is made when it is merged
    if not parts.tensors:
        return "holds no tensor"
    shape = tuple(next(iter(parts.tensors.values())).shape)
    if parts.kind == "set" and shape != weight_shape:
        return "" if sets_another_shape() else another_shape(shape, weight_shape)
    if shape != weight_shape:
        return f"has shape {_text(shape)}, the weight has {_text(weight_shape)}"
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


def _delta_size(parts: Parts) -> tuple[int | None, int | None]:
    """Rows and number of elements of an adapter's delta; ``None`` where the format leaves them open."""
    tensors = parts.tensors
    if not parts.complete:
        return None, None  # of what is not known here, ComfyUI's own dry run tells
    if parts.kind == "lora":
        return _lora_size(tensors["up"], tensors["down"], tensors.get("mid"))
    if parts.kind == "loha":
        return _loha_size(tensors)
    if parts.kind == "lokr":
        return _lokr_size(tensors)
    if parts.kind == "glora":
        return _glora_rows(tensors), None
    if parts.kind in ("oft", "boft"):
        return math.prod(tensors["oft_blocks"].shape[-3:-1]), None
    return None, None


def _lora_size(up: torch.Tensor, down: torch.Tensor, mid: torch.Tensor | None) -> tuple[int, int]:
    rows, rank = up.shape[0], math.prod(up.shape[1:])
    if mid is not None:
        _need(rank == mid.shape[0], f"up has rank {rank}, mid {mid.shape[0]}")
        _need(down.shape[0] == mid.shape[1], f"down has rank {down.shape[0]}, mid {mid.shape[1]}")
        return rows, rows * math.prod(down.shape[1:]) * math.prod(mid.shape[2:])
    _need(rank == down.shape[0], f"up has rank {rank}, down has rank {down.shape[0]}")
    return rows, rows * math.prod(down.shape[1:])


def _loha_size(tensors: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    w1a, w1b, w2a, w2b = (tensors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    core = tensors.get("hada_t1")
    if core is not None:
        return int(w1a.shape[1]), int(w1a.shape[1] * w1b.shape[1] * math.prod(core.shape[2:]))
    _need(w1a.shape[1] == w1b.shape[0], f"w1_a has rank {w1a.shape[1]}, w1_b {w1b.shape[0]}")
    _need(w1a.shape[0] == w2a.shape[0] and w1b.shape[1:] == w2b.shape[1:], "w1 and w2 have different shapes")
    return int(w1a.shape[0]), int(w1a.shape[0]) * math.prod(w1b.shape[1:])


def _lokr_size(tensors: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    if "lokr_w1" in tensors:
        first = tuple(tensors["lokr_w1"].shape)
    else:
        first = (tensors["lokr_w1_a"].shape[0], tensors["lokr_w1_b"].shape[1])
    if "lokr_w2" in tensors:
        second = tuple(tensors["lokr_w2"].shape)
    elif "lokr_t2" in tensors:
        second = (tensors["lokr_w2_a"].shape[1], tensors["lokr_w2_b"].shape[1], *tensors["lokr_t2"].shape[2:])
    else:
        second = (tensors["lokr_w2_a"].shape[0], *tensors["lokr_w2_b"].shape[1:])
    return first[0] * second[0], math.prod(first) * math.prod(second)


def _glora_rows(tensors: Mapping[str, torch.Tensor]) -> int | None:
    if any(tensors[role].dim() < 2 for role in ("a1", "a2", "b1", "b2")):
        return None
    a2 = tensors["a2"]
    current = is_current_glora(tensors) and a2.shape[0] <= a2.shape[1]
    return int(tensors["b1" if current else "b2"].shape[0])


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
