"""How a plan gets onto a model: merged into the weights, or beside them in the forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.utils

from ...core.match.name_table import target_key
from ...core.report.report import LayerReport, LayerState
from ..bypass.hooks import BypassTerm, add_bypass
from ..bypass.proof import unused_layers
from ..bypass.terms import Beside, beside
from ..comfyui.model_keys import ModelKeys
from ..match.patch import MatchedPatch
from .plan import PatchPlan, PlannedPatch, apply_plan

SKIPPED_HOOKS = "in an earlier run ComfyUI did not use what ran beside this weight"


@dataclass(frozen=True)
class Placed:
    """The patched model and CLIP, and which patches are not beside their weight although that was asked for."""

    model: Any
    clip: Any
    bypassed: frozenset[MatchedPatch]
    """The patches that run beside their weight."""
    merged_because: dict[MatchedPatch, str]
    """By patch: why it was merged although ``bypass`` was asked for."""
    extra_bytes: int
    """What whole deltas beside the weights take, where a format has no small factors."""


def place_plan(
    plan: PatchPlan, keys: ModelKeys, model: Any, clip: Any, owner: str, method: str, only: frozenset[str] | None = None
) -> Placed:
    """Apply ``plan`` to clones of ``model`` and ``clip``.

    Args:
        method: ``merge`` or ``bypass``. What cannot run beside its weight is merged in either case.
        only: With ``bypass``, keys of the weights beside which patches run; the others are merged. ``None``: all.
    """
    if method != "bypass":
        return Placed(*apply_plan(plan, model, clip, owner), frozenset(), {}, 0)
    terms: dict[bool, list[BypassTerm]] = {False: [], True: []}
    merged: list[PlannedPatch] = []
    bypassed: set[MatchedPatch] = set()
    reasons: dict[MatchedPatch, str] = {}
    unused = unused_layers(model.model)
    for patch in plan.patches:
        if only is not None and target_key(patch.target) not in only:
            merged.append(patch)
            continue
        found = find_beside(patch, keys, clip.patcher if patch.text_encoder else model)
        if not isinstance(found, str) and not patch.text_encoder and found.module in unused:
            found = SKIPPED_HOOKS
        if isinstance(found, str):
            merged.append(patch)
            reasons[patch.patch] = found
            continue
        key = target_key(patch.target)
        term = BypassTerm(found, patch.strength, patch.value, key, keys.shapes[key], owner, patch.target)
        terms[patch.text_encoder].append(term)
        bypassed.add(patch.patch)
    new_model, new_clip = apply_plan(replace(plan, patches=tuple(merged)), model, clip, owner)
    if terms[False]:
        add_bypass(new_model, terms[False])
    if terms[True]:
        add_bypass(new_clip.patcher, terms[True])
    every = [*terms[False], *terms[True]]
    extra = sum(whole_bytes(term.beside) for term in every)
    return Placed(new_model, new_clip, frozenset(bypassed), reasons, extra)


def find_beside(planned: PlannedPatch, keys: ModelKeys, patcher: Any) -> Beside | str:
    """A planned patch as a term beside its weight, or why it has to be merged; found once for a file and a model."""
    patch, key = planned.patch, planned.patch.model_key
    if patch.found.beside is None:
        shape = keys.shapes.get(key)
        try:
            module = comfy.utils.get_attr(patcher.model, key.rpartition(".")[0])
        except AttributeError:
            module = None
        if shape is None or module is None:
            patch.found.beside = "the model has no such layer"
        else:
            patch.found.beside = beside(patch.parts, patch.target, shape, module)
    return patch.found.beside


def whole_bytes(term: Beside) -> int:
    """What a term without small factors takes beside the model, in half precision."""
    delta = getattr(term.outline, "delta", None)
    return 0 if delta is None or delta.dim() < 2 else delta.numel() * 2


def name_methods(
    layers: Sequence[LayerReport], plan: PatchPlan, placed: Placed, method: str
) -> tuple[LayerReport, ...]:
    """The report's layers with the method that each was applied by, and why it is not the one that was asked for."""
    result = []
    for layer, planned in zip(layers, plan.layers, strict=True):
        if layer.state is LayerState.APPLIED and planned.patch is not None:
            used = "bypass" if planned.patch in placed.bypassed else "merge"
            reason = placed.merged_because.get(planned.patch, "")
            because = f"merged, because {reason}" if reason and method == "bypass" else ""
            text = "; ".join(part for part in (layer.reason, because) if part)
            layer = layer.changed(method=used, reason=text)
        result.append(layer)
    return tuple(result)


def method_notes(layers: Sequence[LayerReport], placed: Placed, method: str) -> tuple[str, ...]:
    """Sentences on what ``bypass`` did."""
    if method != "bypass":
        return ()
    beside_weights = sum(layer.method == "bypass" for layer in layers)
    notes = [f"{beside_weights} layers run beside their weights (bypass): the weights are left as they are."]
    reasons = Counter(placed.merged_because.values())
    notes += [f"{count} layers were merged all the same: {reason}." for reason, count in reasons.most_common(3)]
    if placed.extra_bytes:
        size = placed.extra_bytes / 2**20
        notes.append(f"Some formats have no small factors: their whole change takes {size:.0f} MiB beside the model.")
    return tuple(notes)
