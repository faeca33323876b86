"""What the rules of other programs need to know of a LoRA on a model."""

from __future__ import annotations

from typing import Any

from ...core.report.report import LayerState
from ...core.transfer.fit_rules import added_shift
from ...core.transfer.profile import OUTPUT, Profile, shift
from ..apply.layer_norms import measure_plan
from ..apply.lora_cache import LoadedLora
from ..apply.plan import MATCHES, plan_patches
from .strength_lab import (
    StrengthLab,
)


def added_shifts(before: Profile, after: Profile) -> dict[str, float]:
    """What each place adds to the shift that came in, of a LoRA without and with it."""
    names = [name for name in before.records if name != OUTPUT and name in after.records]
    return added_shift({name: shift(before.records[name], after.records[name]).relative_l2 for name in names})


def group_norms(lora: LoadedLora, model: Any, lab: StrengthLab) -> dict[str, float]:
    """Frobenius norm of the change of the weights, root-sum-square over each group's layers."""
    keys = MATCHES.model_keys(model, None)
    layers = measure_plan(plan_patches(lora, keys, 1.0, 0.0, ""), keys, model, None)
    squares = {group.selector: 0.0 for group in lab.groups}
    owner = {key: group.selector for group in lab.groups for key in group.keys}
    for layer in layers:
        if layer.state is LayerState.APPLIED and layer.model_key in owner and layer.delta_norm is not None:
            squares[owner[layer.model_key]] += layer.delta_norm**2
    return {name: square**0.5 for name, square in squares.items()}
