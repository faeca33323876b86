"""Apply a LoRA block by block and report what became of every layer."""

from __future__ import annotations

import logging

from comfy_api.latest import io

from .core.report.text import report_text
from .core.strengths.text import parse_block_strengths
from .host.apply.apply import apply_lora
from .host.apply.renumber import check_map_text
from .host.comfyui.lora_input import lora_file, lora_file_input, lora_fingerprint
from .sockets import (
    BLOCK_MAP,
    CATEGORY,
    SHOWS_RESULT,
    method_inputs,
    reads_report,
    report_json,
    report_outputs,
    steps_for,
    strength_input,
    with_inputs,
)


class PatchbayApplyLora(io.ComfyNode):
    """The LoRA loader that says what it did."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayApplyLora",
            **SHOWS_RESULT,
            display_name="Apply LoRA (Patchbay)",
            category=CATEGORY,
            description="Applies a LoRA with a strength for each block, and reports every layer that it patched and "
            "every layer that did not fit, with the reason.",
            search_aliases=["lora", "lora loader", "block weight", "lbw", "lora by block"],
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRA is applied to."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder. Only needed if the LoRA also changes it; the report says whether.",
                ),
                lora_file_input(),
                strength_input(
                    "strength_model",
                    "How strongly the LoRA changes the diffusion model: 1 as trained, 0 not at all, "
                    "negative the other way.",
                ),
                strength_input(
                    "strength_clip",
                    "How strongly the LoRA changes the text encoder: 1 as trained, 0 not at all. Ignored "
                    "when no CLIP is connected.",
                ),
                io.String.Input(
                    "blocks",
                    default="",
                    multiline=True,
                    tooltip="Strength by block, multiplied with the strengths above. Empty: 1 everywhere. Example: "
                    "double_blocks.0-1=0.5, single_blocks.*=0, single_blocks.3.attn=1.2, other=1, te=0.7",
                ),
                *method_inputs(),
                io.String.Input(
                    "block_map",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip=BLOCK_MAP,
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model with the LoRA applied."),
                io.Clip.Output("clip", tooltip="The text encoder with the LoRA applied; empty if none came in."),
                *report_outputs(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, blocks: str | None = None, block_map: str | None = None) -> bool | str:
        try:
            parse_block_strengths(blocks or "")
            check_map_text(block_map or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: object) -> str:
        return lora_fingerprint(lora_name)

    @classmethod
    def execute(
        cls,
        model: object,
        lora_name: str,
        strength_model: float,
        strength_clip: float,
        blocks: str,
        method: str,
        as_stock: bool = False,
        block_map: str = "",
        clip: object = None,
    ) -> io.NodeOutput:
        path = lora_file(lora_name)
        steps = steps_for(method, cls.hidden)
        result = apply_lora(
            path, lora_name, model, clip, strength_model, strength_clip, blocks, as_stock, method, steps,
            block_map, not reads_report(cls.hidden),
        )  # fmt: skip
        if result.report.level.value != "ok":
            logging.warning("LoRA Patchbay: %s: %s", lora_name, result.report.summary)
        text = report_text(result.report)
        return io.NodeOutput(
            result.model,
            result.clip,
            result.report,
            text,
            ui=with_inputs({"patchbay_report": [report_json(result.report)], "text": [text]}, model),
        )
