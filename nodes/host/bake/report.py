"""What became of every layer of a saved LoRA."""

from __future__ import annotations

import math
import os
from dataclasses import replace

from ...core.bake.file import BakedFile
from ...core.model.blocks import TEXT_ENCODER
from ...core.report.report import LayerReport, LayerState, Level, Report
from ..apply.apply import summarise_lora
from ..apply.lora_cache import LoadedLora
from ..comfyui.model_keys import ModelKeys
from ..match.patch import MatchedPatch
from .layers import lies_inside


def layer_reports(
    measured: tuple[LayerReport, ...], written: list[tuple[MatchedPatch, ...]], baked: BakedFile
) -> tuple[LayerReport, ...]:
    """The plan's layers, with what was written for each.

    Args:
        written: The patches behind the first layers of the file; what follows belongs to a text encoder.
    """
    results = {
        patch: result for patches, (_, result) in zip(written, baked.layers, strict=False) for patch in patches
    }
    kept = {layer.name: layer for layer, _ in baked.layers[len(written) :]}
    of_weight: dict[str, list[MatchedPatch]] = {}
    for patch in results:
        of_weight.setdefault(patch.model_key, []).append(patch)
    reports: list[LayerReport] = []
    for report in measured:
        if report.state is LayerState.APPLIED:
            patch = next(p for p in of_weight[report.model_key] if lies_inside(report.slice, p.offset))
            report = replace(report, reason=results[patch].note)
        elif report.lora_key in kept:
            report = replace(
                report, state=LayerState.APPLIED, strength=kept[report.lora_key].strength, block=TEXT_ENCODER,
                reason="no CLIP is connected: written as it is, with the strength of te",
            )  # fmt: skip
        reports.append(report)
    return tuple(reports)


def save_report(
    lora: LoadedLora,
    keys: ModelKeys,
    baked: BakedFile,
    layers: tuple[LayerReport, ...],
    strengths: tuple[float, float],
    blocks: str,
    notes: list[str],
) -> Report:
    converted = sum(result.converted for _, result in baked.layers)
    unread = sum(not layer.stock_reads and not result.converted for layer, result in baked.layers)
    errors = [result.error for _, result in baked.layers if result.error is not None]
    left_out = {layer.lora_key for layer in layers if layer.state is not LayerState.APPLIED}
    left_out -= {layer.lora_key for layer in layers if layer.state is LayerState.APPLIED}
    lost = {x.lora_key for x in layers if x.state not in (LayerState.APPLIED, LayerState.SKIPPED, LayerState.DEAD)}
    summary = f"{len(baked.layers)} layers written to {baked.path.name}"
    if converted:
        summary += f", {converted} of them converted"
    if left_out:
        summary += f"; {len(left_out)} left out"
    notes = [note for note in notes if note]
    notes.append(f"Load {baked.path.name} at strength 1: the strengths are in it.")
    if unread:
        notes.append(
            f"{unread} layers are in a format that ComfyUI's own loader does not compute as its author intended. "
            "Apply LoRA does; for the stock loader set convert."
        )
    if errors and max(errors) > 0:
        total = math.sqrt(sum(error**2 for error in errors) / len(baked.layers))
        notes.append(f"Largest error of a layer: {max(errors):.2%}; root mean square over the layers: {total:.2%}.")
    summary_of_file = summarise_lora(lora)
    return Report(
        kind="save",
        title=f"{baked.path.name} from {os.path.basename(lora.name)}",
        summary=summary + ".",
        level=Level.WARNING if unread or lost else Level.OK,
        model=keys.summary,
        lora=summary_of_file,
        strength_model=strengths[0],
        strength_clip=strengths[1],
        blocks=blocks.strip(),
        layers=layers,
        notes=(*notes, *baked.notes),
    )
