"""Finds the blocks that moved: a model that was made of another by removing or inserting blocks has other numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...core.errors import BlockMapError
from ...core.files.numbers import UnreadableNumbers
from ...core.match.alignment import MeasuredMap, Sample, measure_map, sample_runs
from ...core.model.blocks import MODEL_PREFIX
from ..comfyui.private import kept_weight
from ..norms.patches import parameter


def moved_blocks(reference: Any, model: Any) -> MeasuredMap | None:
    """Which block of ``model`` each block of ``reference`` became, by the weights of the two.

    ``None`` where both have as many blocks, or where their blocks do not resemble each other: another width, another
    training. Patches do not count; the weights are those without them.
    """
    (old, sample_old), (new, sample_new) = _side(reference), _side(model)
    try:
        measured = measure_map(old, sample_old, new, sample_new)
    except BlockMapError:
        return None
    return measured if measured.block_map.moves else None


def _side(model: Any) -> tuple[dict[str, tuple[int, ...]], Sample]:
    shapes = {
        key.removeprefix(MODEL_PREFIX): tuple(value.shape)
        for key, value in model.model_state_dict().items()
        if key.startswith(MODEL_PREFIX)
    }

    def sample(key: str) -> object:
        stored = kept_weight(model, f"{MODEL_PREFIX}{key}")
        weight = parameter(model, f"{MODEL_PREFIX}{key}") if stored is None else stored
        if not isinstance(weight, torch.Tensor):
            raise UnreadableNumbers(key)
        if hasattr(weight, "dequantize") and type(weight) not in (torch.Tensor, torch.nn.Parameter):
            weight = weight.dequantize()
        flat = weight.detach().reshape(-1)
        runs = [flat[start : start + count].float().cpu().numpy() for start, count in sample_runs(shapes[key])]
        return np.concatenate(runs)

    return shapes, sample


def moved_sentence(measured: MeasuredMap) -> str:
    """What the report says about it."""
    return (
        f"Blocks moved: this model was made of the reference by removing or inserting blocks ({measured.block_map}), "
        "so a LoRA of the reference lands on other blocks than it was trained on. Give this map to block_map in Apply "
        "LoRA, or in Save LoRA to get a remapped file."
    )
