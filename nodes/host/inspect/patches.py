"""What is patched on a model right now, read from its patcher."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from ...core.lora.adapters.lowrank import column_gram, gram_strength, row_gram
from ...core.report.report import LayerReport, LayerState, Level, Report
from ..apply.layer_norms import measure_patch, slice_shape
from ..apply.plan import MATCHES, OwnedPatch, owners_by_identity
from ..bypass.hooks import BYPASS, bypass_stack
from ..comfyui.events import live_progress
from ..comfyui.model_keys import ModelKeys
from ..comfyui.private import injections
from ..comfyui.stored_as import stored_as
from ..match.roles import Parts, read_parts
from ..match.shapes import is_dead, misfit
from ..norms.patches import WEIGHT_NORMS, parameter

OTHER_NODE = "another node"


def inspect_patches(model: Any) -> Report:
    """A report of every patch on ``model``, in the model's own order, with its owner, strength and size."""
    keys = MATCHES.model_keys(model, None)
    owners = owners_by_identity(model)
    layers: list[LayerReport] = []
    entries = [(key, entry) for key in keys.shapes for entry in model.patches.get(key, ())]
    for key, entry in live_progress(entries, "measure"):
        layers.append(_describe(model, keys, owners, key, keys.shapes[key], entry))
    stack = bypass_stack(model)
    for term in stack.terms if stack is not None else ():
        entry = (term.strength, term.value, 1.0, term.beside.offset)
        layer = _describe(model, keys, owners, term.model_key, term.shape, entry)
        layers.append(replace(layer, owner=term.owner, method="bypass"))
    order = {str(block): index for index, block in enumerate(keys.layout.blocks)}
    layers.sort(key=lambda layer: order.get(layer.block, len(order)))
    level, summary, notes = _judge(layers, keys, model)
    return Report(
        kind="patches",
        title=f"Patches on {keys.summary.architecture}",
        summary=summary,
        level=level,
        model=keys.summary,
        layers=tuple(layers),
        notes=notes,
    )


def _describe(
    model: Any,
    keys: ModelKeys,
    owners: Any,
    key: str,
    shape: tuple[int, ...],
    entry: tuple[Any, ...],
) -> LayerReport:
    strength, value, strength_model, offset = entry[:4]
    parts, place = read_parts(value), keys.layout.place(key)
    owner: OwnedPatch | None = owners.get(id(value))
    problem = misfit(parts, shape, offset)
    state, reason = LayerState.APPLIED, ""
    if problem:
        state, reason = LayerState.SHAPE_MISMATCH, problem
    elif strength == 0:
        state, reason = LayerState.SKIPPED, "its strength is 0"
    elif is_dead(parts):
        state, reason = LayerState.DEAD, "all zero: it changes nothing"
    elif strength_model != 1.0:
        reason = f"the weight itself is multiplied by {strength_model:g} first"
    norm, why = (None, problem) if problem else measure_patch(parts, model, key, shape, offset)
    weight_norm, why_weight = WEIGHT_NORMS.get(model, key, None if problem else offset)
    return LayerReport(
        state=state,
        reason=reason,
        model_key=key,
        block=place.address,
        layer=place.layer,
        slice=offset,
        format=parts.format,
        rank=parts.rank,
        alpha=parts.alpha,
        scale=parts.scale if parts.rank and parts.alpha is not None else None,
        strength=float(strength),
        delta_norm=norm,
        weight_norm=weight_norm,
        spectral_norm=None if problem else _spectral_norm(parts),
        shape=slice_shape(shape, None if problem else offset),
        not_measured=why or why_weight,
        stored=stored_as(parameter(model, key)),
        owner=owner.owner if owner else OTHER_NODE,
    )


def _spectral_norm(parts: Parts) -> float | None:
    """Largest singular value of a plain LoRA at strength 1, from its two rank x rank Gram matrices."""
    if not parts.is_plain_lora:
        return None
    up, down = (parts.tensors[role].detach().cpu().flatten(1) for role in ("up", "down"))
    return gram_strength(column_gram(up), row_gram(down), parts.scale).spectral_norm


def _judge(layers: list[LayerReport], keys: ModelKeys, model: Any) -> tuple[Level, str, tuple[str, ...]]:
    applied = [layer for layer in layers if layer.state is LayerState.APPLIED]
    weights = {layer.model_key for layer in applied if layer.method != "bypass"}
    beside = {layer.model_key for layer in applied if layer.method == "bypass"}
    bad = {layer.model_key for layer in layers if layer.state is LayerState.SHAPE_MISMATCH}
    notes = tuple(
        f"In addition, {len(hooked)} modules are changed in the forward pass ({name}); they are not listed."
        for name, hooked in injections(model).items()
        if not name.startswith(BYPASS)
    )
    stored = Counter(stored_as(parameter(model, key)) for key in weights | beside)
    formats = ", ".join(f"{count} {name}" for name, count in stored.most_common() if name)
    if formats:
        notes = (f"Quantised weights among them: {formats}.", *notes)
    stack = bypass_stack(model)
    unused = stack.not_reached() if stack is not None and stack.instead is not None else []
    if unused:
        said = f"Applied, but ComfyUI did not use it: {len(unused)} layers (for example {unused[0]})."
        notes = (said, "It is merged into these weights instead whenever the model runs.", *notes)
    if not layers:
        return Level.OK, "No weight of this model is patched.", notes
    owners = sorted({layer.owner for layer in layers})
    count, total = len(weights), keys.summary.weight_count
    summary = f"{count} of {total} weights are patched, by {', '.join(owners)}."
    if beside:
        also = f"{len(beside)} of {total} weights have something computed alongside them (bypass)"
        summary = f"{also}, by {', '.join(owners)}." if not weights else f"{summary} {also}."
    if bad:
        summary += f" {len(bad)} patches do not fit their weight: ComfyUI will leave those weights as they are."
    return (Level.WARNING if bad else Level.OK), summary, notes
