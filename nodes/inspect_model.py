"""What a loaded model is, and how far a second one lies from it."""

from __future__ import annotations

import os

import folder_paths
from comfy_api.latest import io

from .core.report.report import to_json
from .core.report.text import report_text
from .host.inspect.model import inspect_model
from .sockets import CATEGORY, report_outputs, with_inputs

NONE = "none"


class PatchbayInspectModel(io.ComfyNode):
    """Reads the loaded weights, not the file name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayInspectModel",
            display_name="Inspect Model (Patchbay)",
            category=CATEGORY,
            description="Names a loaded model's architecture with the evidence, and shows blocks, storage formats and "
            "what is patched. With a second model: how far each block lies from the first, and what that means for a "
            "LoRA.",
            search_aliases=["model info", "compare models", "model difference", "quantization", "architecture"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model to look at. It is not changed."),
                io.Model.Input(
                    "model_b",
                    optional=True,
                    tooltip="A second model of the same shape, for example the distilled one beside the base model. "
                    "Each block is compared with the first model's.",
                ),
                io.Combo.Input(
                    "lora_name",
                    options=[NONE, *folder_paths.get_filename_list("loras")],
                    default=NONE,
                    optional=True,
                    tooltip="With a second model: also show how far it moved the directions that this LoRA edits. "
                    "Indicators, not proof of quality.",
                ),
                io.Combo.Input(
                    "file_b",
                    options=[NONE, *folder_paths.get_filename_list("diffusion_models")],
                    default=NONE,
                    optional=True,
                    tooltip="A model file to compare with in place of model_b, read one weight at a time, so that only "
                    "one model has to fit in memory. Not used where model_b is connected.",
                ),
            ],
            outputs=report_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = NONE, file_b: str | None = NONE, **_: object) -> str:
        return f"{_stamp('loras', lora_name)}, {_stamp('diffusion_models', file_b)}"

    @classmethod
    def execute(cls, model: object, model_b: object = None, lora_name: str = NONE, file_b: str = NONE) -> io.NodeOutput:
        path = "" if lora_name == NONE else folder_paths.get_full_path_or_raise("loras", lora_name)
        second = "" if file_b == NONE else folder_paths.get_full_path_or_raise("diffusion_models", file_b)
        report = inspect_model(model, model_b, path, "" if lora_name == NONE else lora_name, second)
        text = report_text(report)
        return io.NodeOutput(report, text, ui=with_inputs({"patchbay_report": [to_json(report)], "text": [text]}))


def _stamp(folder: str, name: str | None) -> str:
    """Name, size and time of a chosen file: one that was replaced is another."""
    path = None if name in (None, NONE) else folder_paths.get_full_path(folder, str(name))
    if path is None:
        return str(name)
    status = os.stat(path)
    return f"{name}:{status.st_size}:{status.st_mtime_ns}"
