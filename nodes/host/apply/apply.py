"""The whole of applying one LoRA: load, plan, patch, measure, report."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ...core.check.verdict import find_stranger
from ...core.report.report import LayerReport, LayerState, Level, LoraSummary, Report
from ..comfyui.model_keys import ModelKeys
from ..norms.later import LATE_SIZES, broken_layers, broken_note
from .layer_norms import measure_plan
from .lora_cache import LORA_CACHE, LoadedLora
from .method_choice import advice, name_survival, select_method, selection_notes
from .methods import method_notes, name_methods, place_plan
from .plan import MATCHES, PatchPlan, plan_patches
from .renumber import number_lora

_WORDS = {
    LayerState.SKIPPED: "left out by strength 0",
    LayerState.NO_SUCH_LAYER: "have no place in this model",
    LayerState.SHAPE_MISMATCH: "do not fit its shapes",
    LayerState.WRONG_ARCHITECTURE: "are made for another architecture",
    LayerState.NOT_UNDERSTOOD: "are in a format that is not understood",
    LayerState.DEAD: "are all zero",
}


@dataclass(frozen=True)
class Applied:
    """The patched model and CLIP, and what became of the file."""

    model: Any
    clip: Any
    report: Report


def apply_lora(
    path: str,
    name: str,
    model: Any,
    clip: Any,
    strength_model: float,
    strength_clip: float,
    blocks: str,
    as_stock: bool = False,
    method: str = "merge",
    steps: int | None = None,
    block_map: str = "",
    sizes_later: bool = False,
) -> Applied:
    """Apply the LoRA at ``path`` to clones of ``model`` and ``clip`` (which may be ``None``).

    Args:
        method: ``merge`` into the weights, ``bypass``: beside them in the forward pass, ``auto``: merged, but beside
            quantised weights in which rounding would drown the change, or ``cheapest`` of the first two.
        steps: Sampling steps of the workflow, as far as it says; only ``cheapest`` asks.
        block_map: Which block of the model each block of the file is: empty (the same), ``auto`` or a text.
        sizes_later: Leave the sizes of a large file's layers for when somebody looks at the report.
        as_stock: Patch exactly what ComfyUI's own loader patches, also where the file's writer meant something else.

    Raises:
        HeaderError: the file is not a LoRA that can be read.
        BlockStrengthError: ``blocks`` does not parse or does not fit this model.
        BlockMapError: ``block_map`` does not parse or does not fit the file and the model.
    """
    keys = MATCHES.model_keys(model, clip)
    numbered = number_lora(LORA_CACHE.load(path, name), keys, block_map)
    lora = numbered.lora
    plan = plan_patches(lora, keys, strength_model, strength_clip, blocks, as_stock, sizes_later)
    selection = select_method(method, plan, keys, model, clip, as_stock, steps)
    placed = place_plan(plan, keys, model, clip, name, selection.method, selection.only)
    layers = measure_plan(plan, keys, model, clip, quick=True)
    if strength_model or strength_clip:
        _hand_on_metadata(lora, placed.model, placed.clip)
    level, summary, notes = _verdict(plan, lora, keys, (*layers, *numbered.left_out()))
    differences = _differences(layers, as_stock, selection.method)
    layers = name_survival(name_methods(layers, plan, placed, selection.method), selection)
    named = numbered.named(layers)
    to_do = advice(selection)
    report = Report(
        kind="apply",
        title=f"{os.path.basename(name)} on {keys.summary.architecture}",
        summary=summary,
        level=Level.WARNING if to_do and level is Level.OK else level,
        model=keys.summary,
        lora=summarise_lora(lora),
        strength_model=strength_model,
        strength_clip=strength_clip if clip is not None else None,
        blocks=blocks.strip(),
        layers=named,
        notes=(
            *notes,
            *((numbered.note,) if numbered.note else ()),
            *differences,
            *selection_notes(selection, method, layers),
            *method_notes(layers, placed, selection.method),
        ),
        advice=to_do,
        sizes=LATE_SIZES.keep_patches(zip(named, (planned.patch for planned in plan.layers), strict=False)),
    )
    return Applied(placed.model, placed.clip, report)


def _verdict(
    plan: PatchPlan, lora: LoadedLora, keys: ModelKeys, layers: tuple[LayerReport, ...]
) -> tuple[Level, str, tuple[str, ...]]:
    """Level, one sentence and notes: what landed, what is broken, and what the file was made for."""
    level, summary, notes = _judge(layers, lora.name)
    warnings: list[str] = []
    known = plan.matched.stranger
    if not known:
        known.append(find_stranger(lora.file, keys.own_shapes, keys.architecture))
    if known[0] is not None:
        warnings.append(known[0].warning)
    broken = broken_layers(layers)
    if broken:
        warnings.append(broken_note(broken))
    return Level.WARNING if warnings and level is Level.OK else level, summary, (*warnings, *notes)


def summarise_lora(lora: LoadedLora) -> LoraSummary:
    """What the report says about the file itself."""
    return LoraSummary(
        name=lora.name,
        size_bytes=lora.header.size_bytes,
        key_style=lora.file.style.label,
        writer=str(lora.file.writer),
        formats=lora.file.formats,
        ranks=lora.file.ranks,
        metadata={str(key): str(value)[:2000] for key, value in lora.header.metadata.items()},
    )


def _judge(layers: tuple[LayerReport, ...], name: str) -> tuple[Level, str, tuple[str, ...]]:
    """Level, one sentence, and notes for the states that were met."""
    names: dict[LayerState, set[str]] = {}
    for layer in layers:
        names.setdefault(layer.state, set()).add(layer.lora_key)
    total = len({layer.lora_key for layer in layers})
    applied = len(names.get(LayerState.APPLIED, ()))
    skipped = len(names.get(LayerState.SKIPPED, set()) - names.get(LayerState.APPLIED, set()))
    problems = {state: len(names[state]) for state in LayerState if state in names and state not in _NO_PROBLEM}
    details = "; ".join(f"{count} {_WORDS[state]}" for state, count in problems.items())
    if not total:
        return Level.ERROR, f"{name} contains no layer that this pack knows: nothing was changed.", ()
    if not applied and skipped and not problems:
        return Level.OK, f"All {total} layers are at strength 0: the model is unchanged.", ()
    if not applied:
        return Level.ERROR, f"Nothing was applied: of {total} layers {details or 'none lands'}.", _first_reasons(layers)
    sentence = f"{applied} of {total} layers applied"
    if skipped:
        sentence += f", {skipped} {_WORDS[LayerState.SKIPPED]}"
    if problems:
        return Level.WARNING, f"{sentence}; {details}.", _first_reasons(layers)
    return Level.OK, f"{sentence}.", ()


def _hand_on_metadata(lora: LoadedLora, model: Any, clip: Any) -> None:
    """Leave the file's metadata on the patchers as ComfyUI's loader does: nodes for IC-LoRAs read it there."""
    for patcher in (model, None if clip is None else clip.patcher) if lora.header.metadata else ():
        if patcher is not None:
            patcher.set_attachments("lora_metadata", dict(lora.header.metadata))


def _differences(layers: tuple[LayerReport, ...], as_stock: bool, method: str) -> tuple[str, ...]:
    """One sentence for every way in which ComfyUI's own loader would have done something else."""
    if as_stock:  # beside the weights the patches are ComfyUI's own, but not the rounding
        return ("Applied exactly as ComfyUI's own loader does (as_stock).",) if method == "merge" else ()
    found = Counter(layer.reason for layer in layers if layer.state is LayerState.APPLIED and layer.reason)
    notes = [f"{count} applied as its author intended: {reason}." for reason, count in found.most_common(5)]
    if len(found) > 5:
        notes.append(f"{len(found) - 5} more differences from ComfyUI's own loader are listed with the layers.")
    return tuple(notes)


_NO_PROBLEM = (LayerState.APPLIED, LayerState.SKIPPED, LayerState.DEAD)


def _first_reasons(layers: tuple[LayerReport, ...]) -> tuple[str, ...]:
    """One example for every state that is a problem."""
    seen: dict[LayerState, str] = {}
    for layer in layers:
        if layer.state not in _NO_PROBLEM and layer.state not in seen:
            seen[layer.state] = f"For example {layer.lora_key}: {layer.reason}."
    return tuple(seen.values())
