"""The report on a LoRA and a model, from the fate of its layers: the same inside ComfyUI and on the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..files.metadata import Training, read_training
from ..lora.file import LoraFile
from ..lora.file_kinds import made_for
from ..model.blocks import BlockLayout
from ..model.identify import ArchitectureMatch
from ..report.report import LayerReport, LayerState, LoraSummary, ModelSummary, Report
from .doubts import distillation_note, find_doubts
from .verdict import Verdict, judge, untouched_blocks

if TYPE_CHECKING:
    from .stranger import Stranger


class Checked(NamedTuple):
    """The verdict and the report that explains it."""

    verdict: Verdict
    report: Report


class CheckedModel(NamedTuple):
    """What is known of the model that a file is checked against."""

    summary: ModelSummary
    match: ArchitectureMatch
    layout: BlockLayout
    shapes: Mapping[str, tuple[int, ...]]
    """Of the diffusion model's own weights, without prefix."""


def summarise_lora(file: LoraFile, name: str, training: Training | None = None) -> LoraSummary:
    """What a report says about a LoRA file itself.

    Args:
        name: As the user sees it in a list.
        training: Its metadata, where they are read already.
    """
    _, match = made_for(file)
    training = training or read_training(file.header.metadata)
    return LoraSummary(
        name=name,
        size_bytes=file.header.size_bytes,
        architecture=f"{match.name} ({match.certainty})" if match.id else "",
        key_style=file.style.label,
        writer=str(file.writer),
        formats=file.formats,
        ranks=file.ranks,
        base_model=training.base_model[:300],
        trigger_words=training.trigger_words,
        metadata={str(key): str(value)[:2000] for key, value in file.header.metadata.items()},
    )


def _hints(file: LoraFile, layers: Sequence[LayerReport], model: CheckedModel) -> tuple[str, ...]:
    if all(layer.state is LayerState.APPLIED for layer in layers):
        return ()
    from .hints import find_hints

    return find_hints(file, layers, model.match, model.shapes)


def conclude(
    file: LoraFile,
    name: str,
    model: CheckedModel,
    layers: Sequence[LayerReport],
    stranger: Stranger | None,
    strength_clip: float | None = None,
) -> Checked:
    """Weigh the fates of a file's layers.

    Args:
        layers: Fates at strength 1, before the architecture is named in them.
        strength_clip: ``None`` where no text encoder is at hand.
    """
    base = os.path.basename(name)
    training = read_training(file.header.metadata)
    if stranger is not None:
        from .stranger import explain

        layers = explain(layers, stranger)
    hints = _hints(file, layers, model)
    doubts = () if stranger is not None else find_doubts(file, base, layers, model.match, model.shapes)
    report = Report(
        kind="check",
        title=f"{base} for {model.summary.architecture}",
        summary="",
        model=model.summary,
        lora=summarise_lora(file, name, training),
        strength_model=1.0,
        strength_clip=strength_clip,
        layers=tuple(layers),
    )
    verdict = judge(layers, base, model.match, model.summary.architecture, stranger, report.coverage, doubts, hints)
    provenance = training.provenance
    trained = f"Trained on a {provenance.kind} model ({provenance.certainty}: {provenance.evidence})."
    notes = (
        *verdict.notes,
        *((text,) if (text := untouched_blocks(layers, model.layout)) else ()),
        *((trained,) if provenance.kind else ()),
        *((patch,) if (patch := distillation_note(file, base)) else ()),
        *file.notes,
    )
    report = replace(
        report,
        summary=verdict.summary,
        level=verdict.level,
        notes=notes,
        verdict=verdict.fit.value,
        advice=verdict.advice,
        doubts=verdict.doubts,
    )
    return Checked(verdict, report)
