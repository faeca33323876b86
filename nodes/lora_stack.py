"""The community's lists of LoRAs, in and out: built entry by entry, and applied one after the other."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.report.text import report_text
from .core.strengths.stack import StackEntry
from .core.strengths.text import parse_block_strengths
from .host.apply.stack import apply_stack
from .host.comfyui.lora_input import lora_file_input, lora_fingerprint
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

_STRENGTH = {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01}


class PatchbayStackLora(io.ComfyNode):
    """One more LoRA on a ``LORA_STACK``."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayStackLora",
            display_name="LoRA to Stack (Patchbay)",
            category=CATEGORY,
            description="Puts a LoRA on a list of LoRAs (LORA_STACK), as many node packs use it. Nothing is loaded or "
            "applied here.",
            search_aliases=["lora stack", "lora stacker", "lora_stack"],
            inputs=[
                lora_file_input(),
                io.Float.Input(
                    "strength_model",
                    **_STRENGTH,
                    tooltip="How strongly it changes the diffusion model: 1 as trained.",
                ),
                io.Float.Input(
                    "strength_clip", **_STRENGTH, tooltip="How strongly it changes the text encoder: 1 as trained."
                ),
                io.String.Input(
                    "blocks",
                    default="",
                    multiline=True,
                    tooltip="Strength by block for this LoRA. Apply LoRA Stack (Patchbay) uses it; other packs "
                    "cannot see it and apply the whole LoRA.",
                ),
                LoraStack.Input(
                    "lora_stack", optional=True, tooltip="A stack to continue. The new LoRA is put at its end."
                ),
            ],
            outputs=[LoraStack.Output("lora_stack", tooltip="The stack with this LoRA at its end.")],
        )

    @classmethod
    def validate_inputs(cls, blocks: str | None = None) -> bool | str:
        return _check_blocks(blocks)

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: object) -> str:
        """Another file under the same name is another stack: the node that applies it does not see the file's time."""
        return lora_fingerprint(lora_name)

    @classmethod
    def execute(
        cls, lora_name: str, strength_model: float, strength_clip: float, blocks: str, lora_stack: Any = None
    ) -> io.NodeOutput:
        entry = StackEntry(lora_name, strength_model, strength_clip, blocks.strip())
        return io.NodeOutput([*(lora_stack or ()), entry])


class PatchbayApplyLoraStack(io.ComfyNode):
    """Every LoRA of a stack, with one report."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayApplyLoraStack",
            **SHOWS_RESULT,
            display_name="Apply LoRA Stack (Patchbay)",
            category=CATEGORY,
            description="Applies every LoRA of a list (LORA_STACK) from any node pack, one after the other, and "
            "reports for each what was patched and what did not fit.",
            search_aliases=["lora stack", "apply lora stack", "lora_stack", "multi lora"],
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRAs are applied to."),
                io.Clip.Input("clip", optional=True, tooltip="The text encoder. Only needed if a LoRA changes it."),
                LoraStack.Input(
                    "lora_stack",
                    optional=True,
                    tooltip="The LoRAs with their strengths, from any pack's stack node. Without one, the model is "
                    "passed through.",
                ),
                io.String.Input(
                    "blocks",
                    default="",
                    multiline=True,
                    tooltip="Strength by block for every LoRA of the stack. Items come after those that a LoRA brings "
                    "along, so they win.",
                ),
                *method_inputs(),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model with all LoRAs applied."),
                io.Clip.Output("clip", tooltip="The text encoder with all LoRAs applied; empty if none came in."),
                *report_outputs(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, blocks: str | None = None) -> bool | str:
        return _check_blocks(blocks)

    @classmethod
    def execute(
        cls,
        model: object,
        lora_stack: Any = None,
        blocks: str = "",
        method: str = "auto",
        as_stock: bool = False,
        clip: object = None,
    ) -> io.NodeOutput:
        steps = steps_for(method, cls.hidden)
        result = apply_stack(lora_stack, model, clip, blocks, as_stock, method, steps, not reads_report(cls.hidden))
        if result.report.level.value != "ok":
            logging.warning("LoRA Patchbay: LoRA stack: %s", result.report.summary)
        text = report_text(result.report)
        return io.NodeOutput(
            result.model,
            result.clip,
            result.report,
            text,
            ui=with_inputs({"patchbay_report": [report_json(result.report)], "text": [text]}, model),
        )


def _check_blocks(blocks: str | None) -> bool | str:
    try:
        parse_block_strengths(blocks or "")
    except PatchbayError as error:
        return str(error)
    return True
