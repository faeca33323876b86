"""The report on a run, with what only ComfyUI knows of the model."""

from __future__ import annotations

from typing import Any

from ...core.report.report import Report
from ...core.transfer.guidance import guidance_note
from ...core.transfer.teach_report import Lessons, forecast_text, teach_report
from ..apply.plan import MATCHES
from ..transfer.moved_blocks import moved_sentence
from .teach import Taught, TeachSettings


def report_on(taught: Taught, model: Any, settings: TeachSettings, lora_name: str) -> Report:
    """What the node says."""
    lessons = Lessons(
        taught.start, len(taught.factors), taught.calls, taught.state.step, taught.batch, len(settings.conditioning),
        len(taught.judged[0].errors), taught.seconds, taught.shares, taught.written,
        forecast_text(taught.ahead.seconds, taught.ahead.memory), settings.steps,
    )  # fmt: skip
    notes = [
        guidance_note(taught.guidance, settings.reference_cfg or None),
        moved_sentence(taught.moved) if taught.moved else "",
        taught.note,
    ]
    summary = MATCHES.model_keys(model, None).summary
    return teach_report(f"Transfer: {lora_name}", taught.judged, lessons, taught.is_better, summary, notes)
