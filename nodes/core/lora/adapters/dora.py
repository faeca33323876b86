"""DoRA: any adapter whose merged weight is given a stored magnitude. Three spellings, one meaning.

``W' = m (W + delta) / |W + delta|``, norms along the columns of each row where ``m`` has one value a row, along the
rows of each column where it has one a column. Source: 2402.09353, as PEFT, LyCORIS, ai-toolkit and OneTrainer train
it; ComfyUI 0.30 divides by ``|W|`` in the first case, which is not what was trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import as_float, mismatch, require_weight

if TYPE_CHECKING:
    from torch import Tensor

SPELLINGS = {
    "dora_scale": "dora_scale",
    "lora_magnitude_vector": "lora_magnitude_vector",
    "lora_magnitude_vector.weight": "lora_magnitude_vector",
    "lora_magnitude_vector.default": "lora_magnitude_vector",
    "lora_magnitude_vector.default.weight": "lora_magnitude_vector",
    "magnitude": "magnitude",
}
"""Ends of keys, and the spelling they belong to: LyCORIS and OneTrainer, PEFT, ai-toolkit."""


def dora_delta(delta: Tensor, magnitude: Tensor, weight: Tensor | None) -> Tensor:
    """What is added to ``weight`` in the end, at strength 1.

    Args:
        delta: The inner adapter's change, shape of the weight.
        magnitude: [out], [out, 1...] or [1, in, 1...].
    """
    matrix = require_weight(weight, "DoRA")
    merged = matrix + delta.reshape(matrix.shape)
    magnitude = as_float(magnitude)
    by_row = magnitude.numel() == matrix.shape[0] and (magnitude.dim() < 2 or magnitude.shape[0] != 1)
    if not by_row and (matrix.dim() < 2 or magnitude.numel() != matrix.shape[1]):
        raise mismatch("DoRA magnitude", f"{matrix.shape[0]} values", list(magnitude.shape))
    dim = 0 if by_row else 1
    others = tuple(d for d in range(merged.dim()) if d != dim)
    shape = [-1 if d == dim else 1 for d in range(merged.dim())]
    norm = merged.pow(2).sum(others, keepdim=True).sqrt().clamp_min(1e-12)
    return merged * (magnitude.reshape(shape) / norm) - matrix
