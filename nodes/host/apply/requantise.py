"""Some rows of a quantised weight as numbers, and what ComfyUI would store for other numbers in their place.

Quantising a whole weight again takes a second where it is large; the rows of a weight are rounded alike, so that 128 of
them tell as much. They are rounded by the weight's own format with its own options, as ComfyUI's ``set_weight`` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.float
import torch

from ..comfyui.private import quantised_layout, quantised_parts, stored_numbers

ROWS = 128
"""Formats with scales for blocks keep those of 128 rows together, in an order of their own within them."""

_LARGEST = {
    "TensorCoreFP8Layout": 448.0,
    "TensorCoreFP8E4M3Layout": 448.0,
    "TensorCoreFP8E5M2Layout": 57344.0,
    "TensorWiseINT8Layout": 127.0,
    "TensorCoreNVFP4Layout": 448.0 * 6.0,
}
"""What the largest number of a weight becomes, in formats with one scale for all of it."""


@dataclass(frozen=True)
class StoredRows:
    """Rows ``start`` to ``start + len(numbers)`` of a weight."""

    start: int
    numbers: torch.Tensor
    """float32 [rows, columns]"""
    store: Callable[[torch.Tensor], torch.Tensor]
    """Numbers as they are read again after they were stored, float32; may write to its argument."""


def stored_rows(stored: Any, at: int, seed: int, device: Any, own_setter: bool) -> StoredRows | None:
    """Rows of ``stored`` around ``at``, or ``None`` where they cannot be told apart.

    Args:
        stored: The weight as it lies in the model, [rows, columns].
        seed: Of the stochastic rounding.
        own_setter: The layer stores its weight by a function of its own (``set_weight``).
    """
    start = at // ROWS * ROWS
    if quantised_layout(stored):
        return _quantised(stored, start, seed, device)
    if own_setter or type(stored) not in (torch.Tensor, torch.nn.Parameter) or stored.dim() != 2:
        return None
    rows = stored.detach()[start : start + ROWS].to(device)
    dtype = rows.dtype
    return StoredRows(start, rows.float(), lambda x: comfy.float.stochastic_rounding(x, dtype, seed=seed).float())


def _quantised(stored: Any, start: int, seed: int, device: Any) -> StoredRows | None:
    layout, params = quantised_parts(stored)
    if stored.dim() != 2 or getattr(params, "transposed", False):
        return None
    total, columns = params.orig_shape
    count = min(ROWS, total - start)
    data = stored_numbers(stored)
    if data.shape[0] < total:
        return None
    changed: dict[str, Any] = {"orig_shape": (count, columns)}
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if isinstance(value, torch.Tensor) and value.numel() > 1:
            if value.shape[0] >= total:
                value = value.narrow(0, start, min(ROWS, value.shape[0] - start))
            elif value.dim() == 2 and value.shape[1] >= total:  # scales of groups first, rows second
                value = value.narrow(1, start, min(ROWS, value.shape[1] - start))
            else:
                return None
            value = value.contiguous()
        if isinstance(value, torch.Tensor):
            changed[field.name] = value.to(device)
    data = data.narrow(0, start, min(ROWS, data.shape[0] - start)).contiguous().to(device)
    part = type(stored)(data, layout, dataclasses.replace(params, **changed))
    largest = _whole_maximum(stored, layout, params)

    def store(x: torch.Tensor) -> torch.Tensor:
        scale: Any = "recalculate"
        if largest is not None:  # of the whole weight, not of these rows
            scale = torch.clamp(x.abs().amax().float(), min=largest) / _LARGEST[layout]
        again = part.requantize_from_float(x, scale=scale, stochastic_rounding=seed, inplace_ops=True)
        return again.dequantize().float()

    return StoredRows(start, part.dequantize().float(), store)


def _whole_maximum(stored: Any, layout: str, params: Any) -> float | None:
    """The largest number of a weight whose format has one scale for all of it, ``None`` where it has several."""
    if layout not in _LARGEST or params.scale.numel() != 1:
        return None
    scale = float(params.scale)
    data = stored_numbers(stored)
    if scale != 1.0 or not data.dtype.is_floating_point:
        return scale * _LARGEST[layout]
    # Stored without a scale: the next one is made for the numbers that are there. Without their sign, the bytes of a
    # float8 rise with its numbers.
    highest = (data.view(torch.uint8) & 0x7F).amax().reshape(1)
    return float(highest.view(data.dtype).float())
