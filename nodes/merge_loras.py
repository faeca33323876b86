"""Merge several LoRAs, each with its strengths, into one file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from .core.bake.file import make_options, relative_name
from .core.bake.layer import DTYPES, NEVER
from .core.files.names import file_in_folder
from .core.report.report import to_json
from .core.report.text import report_text
from .core.strengths.text import parse_block_strengths
from .host.bake.merge import merge_stack
from .host.comfyui.folders import writable_lora_folder
from .sockets import CATEGORY, LoraStack, report_outputs, with_inputs


class PatchbayMergeLoras(io.ComfyNode):
    """Writes what Apply LoRA Stack would apply into one file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayMergeLoras",
            display_name="Merge LoRAs (Patchbay)",
            category=CATEGORY,
            description="Merges the LoRAs of a list (LORA_STACK), with their strengths and block strengths, into one "
            "new file in models/loras. Any loader that applies it at strength 1 does what they did together: exactly, "
            "unless a rank, an energy or a data type asks for less.",
            search_aliases=["merge lora", "combine loras", "lora merger", "bake lora stack", "add loras"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRAs are for. It says what is the same "
                               "layer in files that name layers differently, and formats such as DoRA need its "
                               "weights. It is not changed."),
                LoraStack.Input("lora_stack", tooltip="The LoRAs with their strengths, from any pack's stack node."),
                io.String.Input("blocks", default="", multiline=True, tooltip="Strength by block for every LoRA of the "
                                "stack. Items come after those that a LoRA brings along, so they win."),
                io.String.Input("file_name", default="merged", tooltip="The new file in models/loras; folder/name "
                                "makes a sub-folder. A name that is taken gets a number, unless overwrite is on."),
                io.Int.Input("rank", default=0, min=0, max=4096, tooltip="Largest rank of a layer: the sum is replaced "
                             "by its best approximation of this rank (SVD), and the report gives the error. 0: no "
                             "limit, the ranks add up and nothing is lost."),
                io.Float.Input("energy", default=1.0, min=0.01, max=1.0, step=0.001, tooltip="Share of a layer's "
                               "squared norm to keep; each layer gets the smallest rank that does. 1: all of it. With "
                               "a rank as well, the smaller of the two wins."),
                io.Combo.Input("dtype", options=list(DTYPES), default=DTYPES[0], tooltip="How numbers are stored. As "
                               "in the file: as in the LoRAs, and as float32 where that would round."),
                io.Boolean.Input("overwrite", default=False, tooltip="On: a file of this name is replaced. Off: it "
                                 "stays, and the new one gets a number."),
            ],
            outputs=[
                io.String.Output("file_name", tooltip="The new file as the list of LoRAs names it."),
                *report_outputs(),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, blocks: str | None = None, file_name: str | None = None) -> bool | str:
        try:
            parse_block_strengths(blocks or "")
            if file_name is not None:
                file_in_folder(writable_lora_folder(), file_name, "loras")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model: Any,
        lora_stack: Any,
        blocks: str,
        file_name: str,
        rank: int,
        energy: float,
        dtype: str,
        overwrite: bool,
    ) -> io.NodeOutput:
        root = Path(writable_lora_folder()).resolve()
        target = file_in_folder(root, file_name, "loras")
        merged = merge_stack(lora_stack, model, blocks, make_options(NEVER, rank, energy, dtype), target, overwrite)
        if merged.report.level.value != "ok":
            logging.warning("LoRA Patchbay: %s: %s", merged.file.path.name, merged.report.summary)
        text = report_text(merged.report)
        ui = with_inputs({"patchbay_report": [to_json(merged.report)], "text": [text]})
        return io.NodeOutput(relative_name(merged.file.path, root), merged.report, text, ui=ui)
