"""Fill a plan's layers with their norms: what the LoRA adds, and the weight that it is added to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...core.lora.layer_norms import measure_layer
from ...core.report.report import LayerReport
from ..comfyui.model_keys import ModelKeys
from ..match.patch import MatchedPatch
from ..match.roles import Parts
from ..norms.later import LATER_WEIGHT as LATER
from ..norms.patches import WEIGHT_NORMS, delta_norm, norm_work, read_weight
from .plan import PatchPlan, PlannedLayer

QUICK_WEIGHTS = 1 << 26
"""A model with more patched elements than this has its weight norms measured by Show Patches, not on every apply."""
QUICK_DELTAS = 1 << 22
"""Formats whose size has to be found from as many numbers as the weights have (DoRA, OFT, LoHa of high rank, whole
differences) are measured on applying up to this many, about 0.1 s on one core; beyond it by Show Patches."""

Offset = tuple[int, int, int]


def measure_plan(
    plan: PatchPlan, keys: ModelKeys, model: Any, clip: Any, quick: bool = False
) -> tuple[LayerReport, ...]:
    """The plan's layers with ``delta_norm``, and ``weight_norm`` where that costs next to nothing.

    Args:
        quick: Leave out deltas that would make applying wait, with that reason.
    """
    touched = {layer.report.model_key for layer in plan.layers if layer.report.model_key in keys.shapes}
    elements = sum(_size(keys.shapes[key]) for key in touched)
    later = _slow(plan, keys) if quick else frozenset()
    measure = _Measure(plan, keys, model, clip, with_weights=elements <= QUICK_WEIGHTS, later=later)
    return tuple(measure(layer) for layer in plan.layers)


def _slow(plan: PatchPlan, keys: ModelKeys) -> frozenset[MatchedPatch]:
    """The patches that are not measured on applying: all that are slow, if together they take too long."""
    work = {
        patch: norm_work(patch.parts, slice_shape(keys.shapes[patch.model_key], patch.offset))
        for patch in (layer.patch for layer in plan.layers)
        if patch is not None and patch.model_key in keys.shapes and patch.found.norm is None
    }
    slow = sum(work.values()) > QUICK_DELTAS
    return frozenset(patch for patch, size in work.items() if size) if slow else frozenset()


@dataclass(frozen=True)
class _Measure:
    """Fills in one layer of a plan."""

    plan: PatchPlan
    keys: ModelKeys
    model: Any
    clip: Any
    with_weights: bool
    later: frozenset[MatchedPatch]

    def __call__(self, layer: PlannedLayer) -> LayerReport:
        report, keys = layer.report, self.keys
        shape = keys.shapes.get(report.model_key)
        if layer.patch is None or shape is None:
            return _measure_source(layer, self.plan)
        clip = self.clip if report.model_key in keys.text_encoder_keys else None
        patcher = self.model if clip is None else clip.patcher
        norm, why = self._delta(layer.patch, patcher, shape)
        weight_norm, why_weight = None, LATER
        if self.with_weights:
            weight_norm, why_weight = WEIGHT_NORMS.get(patcher, report.model_key, report.slice)
        return report.changed(
            delta_norm=norm,
            weight_norm=weight_norm,
            not_measured=why or ("" if weight_norm is not None else why_weight),
            shape=slice_shape(shape, report.slice),
        )

    def _delta(self, patch: MatchedPatch, patcher: Any, shape: tuple[int, ...]) -> tuple[float | None, str]:
        if patch.found.norm is None:
            if patch in self.later:
                return None, LATER
            patch.found.norm = measure_patch(patch.parts, patcher, patch.model_key, shape, patch.offset)
        return patch.found.norm


def _measure_source(layer: PlannedLayer, plan: PatchPlan) -> LayerReport:
    """Norm of a layer that has no place in this model, from the file alone."""
    if layer.source is None:
        return layer.report
    tensors = {role: plan.matched.tensors[key] for role, key in layer.source.roles.items()}
    strength = measure_layer(layer.source, tensors, spectral=False)
    return replace(layer.report, delta_norm=strength.delta_norm, not_measured=strength.not_measured)


def measure_patch(
    parts: Parts,
    patcher: Any,
    key: str,
    shape: tuple[int, ...],
    offset: Offset | None,
) -> tuple[float | None, str]:
    """Norm of what one patch adds at strength 1 to the weight ``key`` of ``patcher``, or why it is missing."""
    return delta_norm(parts, slice_shape(shape, offset), lambda: read_weight(patcher, key, offset))


def slice_shape(shape: tuple[int, ...], offset: Offset | None) -> tuple[int, ...]:
    """The shape of a weight, or of its slice ``(dim, start, length)``."""
    if offset is None or offset[0] >= len(shape):
        return shape
    dim, _, length = offset
    return (*shape[:dim], length, *shape[dim + 1 :])


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
