"""Apply rows of LoRAs, those of a stack before them, with one report and their trigger words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import folder_paths

from ...core.errors import PatchbayError
from ...core.files.header import read_header
from ...core.files.metadata import read_training
from ...core.report.report import LayerState, Report
from ...core.strengths.rows import LoraRow, LoraRowsError, parse_rows, read_tags
from ...core.strengths.stack import StackEntry, find_name, read_stack
from ..comfyui.lora_input import lora_file, lora_fingerprint
from .stack import apply_entries, merge_reports


@dataclass(frozen=True)
class AppliedRows:
    """The patched model and CLIP, and what became of each row."""

    model: Any
    clip: Any
    report: Report
    trigger_words: str
    """Of the LoRAs that are on, each word once, joined by commas."""
    rows: dict[str, Any]
    """For the page: ``{"rows": [{row, lora, level, summary, applied, layers}]}``, a row by its number from 0."""


def apply_rows(
    text: str,
    tags: str,
    stack: Any,
    model: Any,
    clip: Any,
    as_stock: bool = False,
    method: str = "merge",
    steps: int | None = None,
    sizes_later: bool = False,
) -> AppliedRows:
    """Apply the LoRAs of ``stack``, then the rows of ``text`` that are on, then those of ``tags``.

    Nothing to apply hands ``model`` and ``clip`` on as they are.

    Raises:
        LoraRowsError: ``text`` or ``tags`` cannot be read.
        LoraStackError: the stack cannot be read, or a file is not there.
        HeaderError: a file is not a LoRA that can be read.
        BlockStrengthError: block strengths do not fit this model.
    """
    rows = parse_rows(text)
    before = read_stack(stack)
    on = [(number, row) for number, row in enumerate(rows) if _counts(row)]
    entries = [*before, *(row.entry for _, row in on), *(row.entry for row in read_tags(tags))]
    each = apply_entries(entries, model, clip, "", as_stock, method, steps, sizes_later)
    own = zip(on, each.reports[len(before) :], strict=False)
    return AppliedRows(
        each.model,
        each.clip,
        merge_reports(each.reports, "") if each.reports else _nothing(len(rows)),
        ", ".join(trigger_words(entries)),
        {"rows": [_row_result(number, row, report) for (number, row), report in own]},
    )


def check_rows(text: str) -> None:
    """Whether the rows can be applied, as far as that shows without the model.

    Raises:
        PatchbayError: the text cannot be read, or a row that is on names a file that is not there.
    """
    known = folder_paths.get_filename_list("loras")
    for number, row in enumerate(parse_rows(text), 1):
        if _counts(row):
            try:
                find_name(row.lora, known)
            except PatchbayError as error:
                raise LoraRowsError(f"rows, row {number}: {str(error).removeprefix('lora_stack: ')}") from error


def rows_fingerprint(text: str | None) -> str:
    """What changes whenever a file does that a row names, for ``fingerprint_inputs``."""
    if text is None:
        return lora_fingerprint(None)
    known = folder_paths.get_filename_list("loras")
    found: list[str] = []
    for row in parse_rows(text) if text else ():
        if _counts(row):
            found.append(lora_fingerprint(_listed(row.lora, known)))
    return "\n".join(found)


def trigger_words(entries: Iterable[StackEntry]) -> tuple[str, ...]:
    """The trigger words that the files state, each once, in the order of the LoRAs."""
    known = folder_paths.get_filename_list("loras")
    words: dict[str, None] = {}
    for entry in entries:
        header = read_header(lora_file(find_name(entry[0], known)))
        words.update(dict.fromkeys(read_training(header.metadata).trigger_words))
    return tuple(words)


def _counts(row: LoraRow) -> bool:
    return row.on and bool(row.lora)


def _listed(name: str, known: Sequence[str]) -> str:
    try:
        return find_name(name, known)
    except PatchbayError:
        return name  # the run says that it is not there


def _nothing(rows: int) -> Report:
    sentence = "Every row is off: the model is unchanged." if rows else "There is no row: the model is unchanged."
    return Report("apply", "LoRA rows", sentence)


def _row_result(number: int, row: LoraRow, report: Report) -> dict[str, Any]:
    applied = sum(layer.state is LayerState.APPLIED for layer in report.layers)
    return {
        "row": number,
        "lora": row.lora,
        "name": os.path.basename(row.lora),
        "level": report.level.value,
        "summary": report.summary,
        "applied": applied,
        "layers": len(report.layers),
    }
