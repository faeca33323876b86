"""Socket types and widget texts that several nodes share."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

CATEGORY = "LoRA Patchbay"

Report = io.Custom("PATCHBAY_REPORT")
"""A :class:`core.report.report.Report`."""

LoraStack = io.Custom("LORA_STACK")
"""The community's list of ``(lora name, strength_model, strength_clip)``, see :mod:`core.strengths.stack`."""

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}

SHOWS_RESULT: dict[str, Any] = {"has_intermediate_output": True} if "has_intermediate_output" in _SCHEMA_FIELDS else {}
"""For the schema of a node in the middle of a workflow whose result is shown on the page.

ComfyUI sends the result of such a node again where the node comes from the cache; one that does not know the field
sends only those of output nodes.
"""


def report_outputs() -> list[io.Output]:
    """The two outputs that every node with a report has."""
    return [
        Report.Output("report", tooltip="The whole report, for other Patchbay nodes."),
        io.String.Output("text", tooltip="The same report as readable text."),
    ]
