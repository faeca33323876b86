"""Several LoRAs as rows of one node, with one report."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.report.text import report_text
from .host.apply.rows import apply_rows, check_rows, rows_fingerprint
from .sockets import (
    CATEGORY,
    SHOWS_RESULT,
    LoraStack,
    method_inputs,
    reads_report,
    report_json,
    report_outputs,
    steps_for,
    with_inputs,
)


class PatchbayApplyLoras(io.ComfyNode):
    """As many LoRAs as there are rows, each on or off, at its strength."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayApplyLoras",
            **SHOWS_RESULT,
            display_name="Apply LoRAs (Patchbay)",
            category=CATEGORY,
            description="Applies several LoRAs, one a row: on or off, strength, strength by block. One report says for "
            "each row what landed, and where rows change the same weights.",
            search_aliases=["lora loader", "power lora loader", "multi lora", "lora stack", "several loras"],
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRAs are applied to."),
                io.Clip.Input("clip", optional=True, tooltip="The text encoder. Only needed if a LoRA changes it."),
                LoraStack.Input(
                    "lora_stack", optional=True, tooltip="LoRAs from any pack's stack node. They come before the rows."
                ),
                io.String.Input(
                    "lora_text",
                    optional=True,
                    force_input=True,
                    tooltip="A text with tags such as <lora:name:0.8>. They come after the rows; other words are left "
                    "alone.",
                ),
                io.String.Input(
                    "rows",
                    default="[]",
                    socketless=True,
                    tooltip="The rows as JSON: a list with on, lora, strength and, where wanted, clip (strength for "
                    "the text encoder) and blocks. Tags such as <lora:name:0.8> are taken too.",
                ),
                *method_inputs(folded=False),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model with the LoRAs applied; unchanged if every row is off."),
                io.Clip.Output("clip", tooltip="The text encoder with the LoRAs applied; empty if none came in."),
                *report_outputs(),
                io.String.Output(
                    "trigger_words", tooltip="The trigger words that the files of the LoRAs in use state, with commas."
                ),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, rows: str | None = None) -> bool | str:
        try:
            check_rows(rows or "")
        except PatchbayError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, rows: str | None = None, **_: object) -> str:
        return rows_fingerprint(rows)

    @classmethod
    def execute(
        cls,
        model: object,
        rows: str = "[]",
        method: str = "auto",
        as_stock: bool = False,
        clip: object = None,
        lora_stack: Any = None,
        lora_text: str = "",
    ) -> io.NodeOutput:
        steps = steps_for(method, cls.hidden)
        later = not reads_report(cls.hidden)
        result = apply_rows(rows, lora_text or "", lora_stack, model, clip, as_stock, method, steps, later)
        if result.report.level.value != "ok":
            logging.warning("LoRA Patchbay: LoRAs: %s", result.report.summary)
        text = report_text(result.report)
        return io.NodeOutput(
            result.model,
            result.clip,
            result.report,
            text,
            result.trigger_words,
            ui=with_inputs(
                {"patchbay_report": [report_json(result.report)], "patchbay_rows": [result.rows], "text": [text]}, model
            ),
        )
