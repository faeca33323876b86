"""Which method a run will use, and what the report says about quantised weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management

from ...core.match.name_table import target_key
from ...core.measure.method_costs import LEAST_KEPT, MOST_NOISE, Situation, choose_method, lossy
from ...core.report.report import LayerReport
from ..comfyui.model_keys import ModelKeys
from ..comfyui.private import is_dynamic
from ..comfyui.stored_as import stored_as
from ..norms.patches import parameter
from ..restage.patch_lists import changed_keys
from ..restage.restaging import loaded_patches
from .methods import find_beside, whole_bytes
from .plan import PatchPlan
from .survival import Requantisation, measure_requantisation

AS_STOCK = "as_stock asks for exactly what ComfyUI's own loader does"

STAYS = "If only the number of steps changes, this node does not run again and the choice stays."
"""ComfyUI shows a node nothing of the workflow when it asks whether the node has changed."""


@dataclass(frozen=True)
class Selection:
    """The method of a run."""

    method: str
    """``merge`` or ``bypass``."""
    reason: str = ""
    """Why, where the choice was left to us."""
    requantisation: Requantisation | None = None
    only: frozenset[str] | None = None
    """Keys of the weights beside which ``bypass`` runs; ``None``: all."""


def select_method(
    wanted: str, plan: PatchPlan, keys: ModelKeys, model: Any, clip: Any, as_stock: bool, steps: int | None
) -> Selection:
    """``wanted`` itself, or what ``auto`` (right first) and ``cheapest`` make of it.

    Args:
        as_stock: The result has to be ComfyUI's own bit for bit, which only a merge is.
        steps: Sampling steps as far as the workflow says.
    """
    if wanted == "bypass":
        return Selection("bypass")
    patches = [patch for patch in plan.patches if not patch.text_encoder]
    lost = measure_requantisation(patches, model) if patches else None
    if wanted == "auto":
        return Selection("merge", AS_STOCK, lost) if as_stock else _right_first(plan, clip, lost)
    if wanted == "merge":
        return Selection("merge", "", lost)
    if as_stock:
        return Selection("merge", AS_STOCK, lost)
    if not plan.patches:
        return Selection("merge", "nothing is to be applied", lost)
    found = [find_beside(patch, keys, clip.patcher if patch.text_encoder else model) for patch in plan.patches]
    beside = [part for part in found if not isinstance(part, str)]
    weights = {target_key(patch.target) for patch in plan.patches}
    stage, unstage = _to_stage(plan, keys, model)
    choice = choose_method(
        Situation(
            mode=loading_mode(model),
            steps=steps,
            patched_bytes=sum(_bytes(key, keys, model) for key in weights),
            beside=len(beside),
            merged=len(found) - len(beside),
            whole_bytes=sum(whole_bytes(part) for part in beside),
            patched_each_time=lost is not None and lost.each_time,
            kept=None if lost is None else lost.kept,
            noise=None if lost is None else lost.noise,
            stage_bytes=stage,
            unstage_bytes=unstage,
        )
    )
    return Selection(choice.method, choice.reason, lost)


def _right_first(plan: PatchPlan, clip: Any, lost: Requantisation | None) -> Selection:
    """Whole weights merged; beside the weights what rounding would drown in those that are quantised."""
    patches = [patch for patch in plan.patches if patch.text_encoder]
    also = measure_requantisation(patches, clip.patcher) if patches else None
    every = [each for each in (lost, also) if each is not None]
    drowned = frozenset(key for each in every if drowns(each) for key in each.keys)
    told = next((each for each in every if drowns(each)), lost or also)
    return Selection("bypass", "", told, drowned) if drowned else Selection("merge", "", told)


def drowns(lost: Requantisation) -> bool:
    """Whether a merge loses the change; where it cannot be measured (a format without a writer), it counts as lost."""
    if lost.each_time:
        return False
    return lost.kept is None or lost.noise is None or lossy(lost.kept, lost.noise)


def loading_mode(patcher: Any) -> str:
    """``cpu``, ``dynamic`` or ``legacy``: how ComfyUI brings this model's weights to where they are used."""
    if comfy.model_management.is_device_cpu(patcher.load_device):
        return "cpu"
    return "dynamic" if is_dynamic(patcher) else "legacy"


def _to_stage(plan: PatchPlan, keys: ModelKeys, model: Any) -> tuple[int | None, int]:
    """Bytes of the weights that a merge would have patched anew, and of those that bypass would have put back.

    The first is ``None`` where it is not known what is loaded.
    """
    loaded = loaded_patches(model)
    if loaded is None:
        return None, 0
    wanted = {key: list(patches) for key, patches in model.patches.items()}
    order = list(dict.fromkeys(patch.strength for patch in plan.patches))  # as they are handed to ``add_patches``
    for patch in sorted(plan.patches, key=lambda patch: order.index(patch.strength)):
        if not patch.text_encoder:
            wanted.setdefault(target_key(patch.target), []).append(patch.patch.entry(patch.strength))
    anew, back = changed_keys(loaded, wanted), changed_keys(loaded, model.patches)
    sizes = [sum(_bytes(key, keys, model) for key in changed if key in keys.shapes) for changed in (anew, back)]
    return sizes[0], sizes[1]


def _bytes(key: str, keys: ModelKeys, model: Any) -> int:
    count = 1
    for side in keys.shapes[key]:
        count *= side
    return count * (1 if stored_as(parameter(model, key)) else 2)


def name_survival(layers: Sequence[LayerReport], selection: Selection) -> tuple[LayerReport, ...]:
    """The layers with what arrives of their change in quantised weights, where that was measured."""
    lost = selection.requantisation
    if lost is None:
        return tuple(layers)
    return tuple(
        replace(layer, delta_kept=lost.measured[layer.model_key].kept, delta_noise=lost.measured[layer.model_key].noise)
        if layer.method == "merge" and layer.model_key in lost.measured
        else layer
        for layer in layers
    )


def selection_notes(selection: Selection, wanted: str, layers: Sequence[LayerReport]) -> tuple[str, ...]:
    """Sentences on the choice, and on quantised weights."""
    lost = selection.requantisation
    if wanted == "auto":
        return _auto_notes(selection, layers)
    notes = (f"Method cheapest took {selection.method}: {selection.reason}.", STAYS) if wanted == "cheapest" else ()
    if lost is None or selection.method != "merge":
        return notes
    kinds = ", ".join(lost.formats)
    if lost.each_time:
        return (*notes, f"{lost.weights} weights are {kinds}: they are patched anew whenever they are used, unrounded.")
    if lost.kept is None or lost.noise is None:
        return (
            *notes,
            f"{lost.weights} weights are {kinds} and are quantised again; what is lost could not be measured.",
        )
    return (
        *notes,
        f"{lost.weights} weights are {kinds} and are quantised again: {lost.kept:.0%} of the change survives, with "
        f"rounding noise {lost.noise:.2g} times as large as it (median of {len(lost.measured)} measured layers).",
    )


def _auto_notes(selection: Selection, layers: Sequence[LayerReport]) -> tuple[str, ...]:
    """What ``auto`` did, and what merging would have kept."""
    lost = selection.requantisation
    if selection.reason:
        return ("Method auto merged it: as_stock asks for exactly what ComfyUI's own loader does.",)
    if lost is None:
        return ("Method auto merged it: the weights are stored whole.",)
    kinds, weights = ", ".join(lost.formats), lost.weights
    if lost.each_time:
        return (
            f"Method auto merged it: {weights} weights are {kinds} and are patched anew whenever they are used, "
            "unrounded.",
        )
    kept, noise = lost.kept, lost.noise
    if selection.method == "merge":
        return (
            f"Method auto merged it: in the {weights} weights stored as {kinds}, {kept:.0%} of the change survives, "
            f"with rounding noise {noise:.2g} times as large as it.",
        )
    beside, merged = (sum(layer.method == method for layer in layers) for method in ("bypass", "merge"))
    did = (
        f"Method auto: {beside} changes run alongside weights stored as {kinds}, {merged} are merged into other "
        "weights."
    )
    if kept is None or noise is None:
        return (f"{did} What merging would have kept there could not be measured.",)
    return (
        f"{did} Merging would have kept {kept:.0%} of the change there, with rounding noise {noise:.2g} times as large "
        "as it.",
    )


def advice(selection: Selection) -> str:
    """What to do where merging loses the change; empty otherwise."""
    lost = selection.requantisation
    if selection.method != "merge" or lost is None or not lossy(lost.kept, lost.noise):
        return ""
    return (
        f"Use the method auto: this model is quantised, and merging loses too much of the change (more than "
        f"{1 - LEAST_KEPT:.0%} missing, or noise above {MOST_NOISE:g} times the change)."
    )
