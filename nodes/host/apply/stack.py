"""Apply the LoRAs of a ``LORA_STACK`` one after the other, with one report for all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import folder_paths

from ...core.errors import PatchbayError
from ...core.report.overlap import MOST_PAIRS, describe_blocks, find_meetings
from ...core.report.report import LayerState, Level, Report
from ...core.report.text import count_text
from ...core.strengths.stack import LoraStackError, StackEntry, find_name, read_stack
from ..comfyui.lora_input import lora_file
from .apply import Applied, apply_lora

_NOTES_EACH = 4


@dataclass(frozen=True)
class AppliedEach:
    """The patched model and CLIP, and one report for each LoRA in their order."""

    model: Any
    clip: Any
    reports: tuple[Report, ...]


def apply_stack(
    stack: Any,
    model: Any,
    clip: Any,
    blocks: str,
    as_stock: bool = False,
    method: str = "merge",
    steps: int | None = None,
    sizes_later: bool = False,
) -> Applied:
    """Apply every LoRA of ``stack`` to clones of ``model`` and ``clip`` (which may be ``None``), with one report.

    An empty stack, or none, hands both on as they are.

    Args:
        blocks: Block strengths for every LoRA; they come after those that an entry brings along.
        method: As in ``apply_lora``, chosen for each LoRA.
        steps: Sampling steps of the workflow, as far as it says.
        sizes_later: As in ``apply_lora``.

    Raises:
        LoraStackError: the stack holds what is not an entry, or names a file that is not there.
        HeaderError: a file is not a LoRA that can be read.
        BlockStrengthError: block strengths do not parse or do not fit this model; the text names the LoRA.
    """
    each = apply_entries(read_stack(stack), model, clip, blocks, as_stock, method, steps, sizes_later)
    empty = Report("apply", "LoRA stack", "The stack is empty: the model is unchanged.", blocks=blocks.strip())
    return Applied(each.model, each.clip, merge_reports(each.reports, blocks.strip()) if each.reports else empty)


def apply_entries(
    entries: Iterable[StackEntry],
    model: Any,
    clip: Any,
    blocks: str = "",
    as_stock: bool = False,
    method: str = "merge",
    steps: int | None = None,
    sizes_later: bool = False,
) -> AppliedEach:
    """Apply LoRAs one after the other, as ``apply_stack``, and report on each."""
    known = folder_paths.get_filename_list("loras")
    reports: list[Report] = []
    for entry in entries:
        name = find_name(entry[0], known)
        own = "\n".join(part for part in (entry.blocks, blocks.strip()) if part)
        path = lora_file(name)
        try:
            applied = apply_lora(
                path, name, model, clip, entry[1], entry[2], own, as_stock, method, steps, sizes_later=sizes_later
            )
        except PatchbayError as error:
            raise LoraStackError(f"{os.path.basename(name)}: {error}") from error
        model, clip = applied.model, applied.clip
        reports.append(applied.report)
    return AppliedEach(model, clip, tuple(reports))


def merge_reports(reports: Sequence[Report], blocks: str) -> Report:
    """One report of several LoRAs, at least one, on one model: what each landed, and where they meet."""
    order = (Level.OK, Level.WARNING, Level.ERROR)
    names = Counter(report.title.partition(" on ")[0] for report in reports)
    notes: list[str] = []
    for report in reports:
        name = report.lora.name if report.lora else report.title
        notes.append(f"{os.path.basename(name)} at {_strengths(report)}: {report.summary}")
        notes += [f"{os.path.basename(name)}: {note}" for note in report.notes[:_NOTES_EACH]]
    bad = [os.path.basename(report.lora.name) for report in reports if report.lora and report.level is not Level.OK]
    applied = sum(layer.state is LayerState.APPLIED for report in reports for layer in report.layers)
    loras = count_text(len(reports), "LoRA")
    summary = f"{loras}, {count_text(applied, 'layer')} applied."
    if bad:
        summary += f" Look at {', '.join(dict.fromkeys(bad))}: the notes say what did not fit."
    if len(reports) > len(names):
        summary += " The same file is in the stack more than once: its strengths add up."
    return Report(
        kind="apply",
        title=f"{loras} on {reports[0].model.architecture if reports[0].model else 'the model'}",
        summary=summary,
        level=max((report.level for report in reports), key=order.index),
        model=reports[0].model,
        blocks=blocks,
        layers=tuple(layer for report in reports for layer in report.layers),
        notes=(*notes, *_meetings(reports)),
        sizes=",".join(report.sizes for report in reports if report.sizes),
    )


def _meetings(reports: Sequence[Report]) -> tuple[str, ...]:
    """One sentence for each pair that changes the same weights."""
    names = [os.path.basename(report.lora.name if report.lora else report.title) for report in reports]
    found = find_meetings(reports)
    told = [
        f"{names[each.first]} and {names[each.second]} meet in {each.weights} places of the weights, where their "
        f"changes add up: {describe_blocks(list(each.blocks))}."
        for each in found[:MOST_PAIRS]
    ]
    if len(found) > MOST_PAIRS:
        told.append(f"{len(found) - MOST_PAIRS} more pairs of LoRAs meet in fewer places.")
    return tuple(told)


def _strengths(report: Report) -> str:
    model, clip = report.strength_model, report.strength_clip
    words = f"{model:g}" if model is not None else "?"
    words += f", text encoder {clip:g}" if clip is not None else ""
    return f"{words} ({report.blocks})" if report.blocks else words
