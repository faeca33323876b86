"""Fill a plan's layers with their norms: what the LoRA adds, and the weight that it is added to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core.layer_strength import measure_layer
from ..core.report import LayerReport
from .matching import PatchValue
from .model_keys import ModelKeys
from .norms import WEIGHT_NORMS, delta_norm, is_product, product_deltas, read_weight
from .patching import PatchPlan, PlannedLayer

QUICK_WEIGHTS = 1 << 26
"""A model with more patched elements than this has its weight norms measured by Show Patches, not on every apply."""

Offset = tuple[int, int, int]


def measure_plan(plan: PatchPlan, keys: ModelKeys, model: Any, clip: Any) -> tuple[LayerReport, ...]:
    """The plan's layers with ``delta_norm``, and ``weight_norm`` where that costs next to nothing."""
    _measure_products(plan, keys)
    touched = {layer.report.model_key for layer in plan.layers if layer.report.model_key in keys.shapes}
    elements = sum(_size(keys.shapes[key]) for key in touched)
    with_weights = elements <= QUICK_WEIGHTS
    return tuple(_measure(layer, plan, keys, model, clip, with_weights) for layer in plan.layers)


def _measure_products(plan: PatchPlan, keys: ModelKeys) -> None:
    """Measure the plain LoRAs of a plan in one go, so far as that was not done before."""
    norms = plan.matched.norms
    values = {
        id(layer.value): layer.value
        for layer in plan.layers
        if id(layer.value) not in norms
        and layer.report.model_key in keys.shapes
        and layer.value is not None
        and is_product(layer.value)
        and layer.value.weights[0].shape[1] == layer.value.weights[1].shape[0]
    }
    if values:
        for identity, norm in zip(values, product_deltas(list(values.values())), strict=True):
            norms[identity] = (norm, "")


def _measure(
    layer: PlannedLayer,
    plan: PatchPlan,
    keys: ModelKeys,
    model: Any,
    clip: Any,
    with_weights: bool,
) -> LayerReport:
    report = layer.report
    shape = keys.shapes.get(report.model_key)
    if layer.value is None or shape is None:
        return _measure_source(layer, plan)
    patcher = clip.patcher if report.model_key in keys.text_encoder_keys and clip is not None else model
    norms = plan.matched.norms
    if id(layer.value) not in norms:
        norms[id(layer.value)] = measure_patch(layer.value, patcher, report.model_key, shape, report.slice)
    norm, why = norms[id(layer.value)]
    weight_norm, why_weight = None, "measured by Show Patches for a model of this size"
    if with_weights:
        weight_norm, why_weight = WEIGHT_NORMS.get(patcher, report.model_key, report.slice)
    missing = why or ("" if weight_norm is not None else why_weight)
    return report.changed(
        delta_norm=norm,
        weight_norm=weight_norm,
        not_measured=missing,
        shape=slice_shape(shape, report.slice),
    )


def _measure_source(layer: PlannedLayer, plan: PatchPlan) -> LayerReport:
    """Norm of a layer that has no place in this model, from the file alone."""
    if layer.source is None:
        return layer.report
    tensors = {role: plan.matched.tensors[key] for role, key in layer.source.roles.items()}
    strength = measure_layer(layer.source, tensors)
    return replace(layer.report, delta_norm=strength.delta_norm, not_measured=strength.not_measured)


def measure_patch(
    value: PatchValue,
    patcher: Any,
    key: str,
    shape: tuple[int, ...],
    offset: Offset | None,
) -> tuple[float | None, str]:
    """Norm of what one patch adds at strength 1 to the weight ``key`` of ``patcher``, or why it is missing."""
    return delta_norm(value, slice_shape(shape, offset), lambda: read_weight(patcher, key, offset))


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
