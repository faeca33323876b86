"""Preset, import and the user's items as one text of block strengths, checked against a model where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.report.report import Level, Report
from ...core.strengths.formats import Conversion, export_strengths, import_strengths
from ...core.strengths.summary import changed_blocks, spell_out
from ...core.strengths.text import StrengthTable, format_block_strengths, parse_block_strengths
from ..comfyui.model_keys import ModelKeys
from .plan import MATCHES, slice_names
from .presets import find_preset, preset_blocks

NO_FORMAT = "none"


@dataclass(frozen=True)
class Composed:
    """The text for ``blocks``, the text in another program's format, and what there is to say about them."""

    blocks: str
    exported: str
    report: Report


def compose(preset: str, import_format: str, import_text: str, edits: str) -> tuple[str, Conversion | None]:
    """Preset, then import, then edits: the later item wins.

    Raises:
        PresetError: there is no such preset.
        BlockStrengthError: one of the texts does not parse.
    """
    wanted = import_format not in ("", NO_FORMAT) and import_text.strip()
    imported = import_strengths(import_text, import_format) if wanted else None
    parts = (preset_blocks(preset), imported.text if imported else "", edits)
    text = "\n".join(part.strip() for part in parts if part.strip())
    parse_block_strengths(text)
    return text, imported


def make_strengths(
    preset: str, edits: str, import_format: str, import_text: str, export_format: str, model: Any, clip: Any
) -> Composed:
    """The node's work.

    Args:
        model: A ``ModelPatcher`` to check the items against, or ``None``; nothing is changed in it.
        clip: A ``CLIP`` for the items of the text encoder, or ``None``.

    Raises:
        PresetError: there is no such preset.
        BlockStrengthError: a text does not parse, or names nothing in the model.
    """
    text, imported = compose(preset, import_format, import_text, edits)
    exported = export_strengths(text, export_format) if export_format not in ("", NO_FORMAT) else None
    lost = [f"Not carried over from the import: {line}" for line in (imported.lost if imported else ())]
    lost += [f"Not carried over to the export: {line}" for line in (exported.lost if exported else ())]
    chosen = find_preset(preset)
    notes = list(chosen.provenance) if chosen else []
    notes += [note for made in (imported, exported) if made for note in made.notes]
    keys = MATCHES.model_keys(model, clip) if model is not None else None
    count = len(parse_block_strengths(text).items)
    summary, lines = _on_model(text, keys) if keys else (_unchecked(count), ())
    report = Report(
        kind="strengths",
        title=f"Block strengths{f' for {keys.summary.architecture}' if keys else ''}",
        summary=summary + (f" {len(lost)} things could not be carried over." if lost else ""),
        level=Level.WARNING if lost else Level.OK,
        model=keys.summary if keys else None,
        blocks=format_block_strengths(parse_block_strengths(text)),
        notes=(*lost, *dict.fromkeys(notes), *lines),
    )
    return Composed(text, exported.text if exported else "", report)


def _unchecked(count: int) -> str:
    if not count:
        return "No item: every layer has strength 1."
    return f"{count} items, not checked against a model: connect one to see what they name."


def _on_model(text: str, keys: ModelKeys) -> tuple[str, tuple[str, ...]]:
    table = StrengthTable(parse_block_strengths(text), keys.layout, slice_names(keys))
    changed, total = changed_blocks(table, keys.layout, keys.shapes), len(keys.layout.blocks)
    sentence = f"{changed} of {total} blocks have a strength other than 1."
    return sentence, spell_out(table, keys.layout, keys.shapes)
