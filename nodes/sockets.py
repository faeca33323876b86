"""Socket types and widget texts that several nodes share."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "LoRA Patchbay"

Report = io.Custom("PATCHBAY_REPORT")
"""A :class:`core.report.Report`."""

LoraStack = io.Custom("LORA_STACK")
"""The community's list of ``(lora name, strength_model, strength_clip)``, see :mod:`core.lora_stack`."""


def report_outputs() -> list[io.Output]:
    """The two outputs that every node with a report has."""
    return [
        Report.Output("report", tooltip="The whole report, for other Patchbay nodes."),
        io.String.Output("text", tooltip="The same report as readable text."),
    ]
