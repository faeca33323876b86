"""Does a LoRA fit this model? Asked before anything runs."""

from __future__ import annotations

import logging

from comfy_api.latest import io

from .core.errors import IncompatibleModelError
from .core.report.report import to_json
from .core.report.text import report_text
from .host.comfyui.lora_input import lora_file, lora_file_input, lora_fingerprint
from .host.inspect.check import check_lora
from .sockets import CATEGORY, report_outputs, with_inputs

REPORT_ONLY, WARN, STOP, STOP_ON_DOUBT = "report only", "warn", "stop the run", "stop the run, also on doubts"


class PatchbayCheckLora(io.ComfyNode):
    """The verdict before the picture, with the reason."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayCheckLora",
            display_name="Check LoRA (Patchbay)",
            category=CATEGORY,
            description="Says whether a LoRA fits the model and, for each layer, whether Apply LoRA (Patchbay) and "
            "ComfyUI's own loader would apply it, and if not, why. Can stop the run before sampling.",
            search_aliases=["lora compatibility", "does lora fit", "lora check", "lora key not loaded", "wrong lora"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRA is meant for. It is not changed."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder. Without it, layers for a text encoder are reported as waiting for one.",
                ),
                lora_file_input(),
                io.Combo.Input(
                    "when_unfit",
                    options=[REPORT_ONLY, WARN, STOP, STOP_ON_DOUBT],
                    default=WARN,
                    tooltip="What to do if the LoRA does not fit, or fits only in part: only say so here, also write a "
                    "warning to the log, or stop the run before sampling with the reason on this node. The last "
                    "choice also stops where everything lands but the report has doubts.",
                ),
            ],
            outputs=[
                io.Boolean.Output(
                    "fits",
                    tooltip="True if every layer for this model can be applied and the file is made for its "
                    "architecture. Doubts do not change it.",
                ),
                io.Float.Output(
                    "coverage",
                    tooltip="Share of the LoRA's squared norm that fits this model, from 0 to 1. A layer count where "
                    "a norm could not be measured.",
                ),
                *report_outputs(),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: object) -> str:
        return lora_fingerprint(lora_name)

    @classmethod
    def execute(cls, model: object, lora_name: str, when_unfit: str, clip: object = None) -> io.NodeOutput:
        path = lora_file(lora_name)
        checked = check_lora(path, lora_name, model, clip)
        verdict, report = checked.verdict, checked.report
        doubts = [f"Doubt: {doubt.sentence}." for doubt in verdict.doubts]
        sentence = " ".join((verdict.summary, *doubts, verdict.advice))
        if when_unfit == STOP_ON_DOUBT and (doubts or not verdict.fits) or when_unfit == STOP and not verdict.fits:
            raise IncompatibleModelError(sentence)
        if when_unfit == WARN and (doubts or not verdict.fits):
            logging.warning("LoRA Patchbay: %s", sentence)
        text = report_text(report)
        ui = {"patchbay_report": [to_json(report)], "text": [text]}
        return io.NodeOutput(verdict.fits, verdict.coverage, report, text, ui=with_inputs(ui, model))
