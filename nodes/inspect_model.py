"""What a loaded model is, and how far a second one lies from it."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io

from .core.report.report import to_json
from .core.report.text import report_text
from .host.comfyui.folders import file_stamp
from .host.comfyui.lora_input import NONE, lora_file, lora_file_input, lora_fingerprint
from .host.inspect.contents import add_contents
from .host.inspect.model import inspect_model
from .sockets import CATEGORY, LoraStack, report_outputs, with_inputs


class PatchbayInspectModel(io.ComfyNode):
    """Reads the loaded weights, not the file name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayInspectModel",
            display_name="Inspect Model (Patchbay)",
            category=CATEGORY,
            description="Names a loaded model's architecture with the evidence, and shows blocks, storage formats "
            "and what is patched. With a second model: how far each block is from the first model's, and what that "
            "means for a LoRA. With a list of LoRAs too: which of them are merged into the model, and how strongly.",
            search_aliases=[
                "model info",
                "compare models",
                "model difference",
                "quantization",
                "architecture",
                "verify merge",
                "what is inside",
            ],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model to look at. It is not changed."),
                io.Model.Input(
                    "model_b",
                    optional=True,
                    tooltip="A second model of the same shape, for example the distilled one next to the base model. "
                    "Each block is compared with the first model's.",
                ),
                lora_file_input(
                    "With a second model: also show how far it moved the directions that this LoRA edits. "
                    "Indicators, not proof of quality.",
                    optional=True,
                ),
                io.Combo.Input(
                    "file_b",
                    options=[NONE, *folder_paths.get_filename_list("diffusion_models")],
                    default=NONE,
                    optional=True,
                    tooltip="A model file to compare with instead of model_b, read one weight at a time, so only one "
                    "model has to fit in memory. Ignored if model_b is connected.",
                ),
                LoraStack.Input(
                    "lora_stack",
                    optional=True,
                    tooltip="What is inside this merge: LoRAs to look for in what the model, with its patches, changes "
                    "of model_b or file_b, which is then the model that it was made from. Strengths are found, not "
                    "read from the list; block strengths of the list count.",
                ),
            ],
            outputs=report_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = NONE, file_b: str | None = NONE, **_: object) -> str:
        path = None if file_b in (None, NONE) else folder_paths.get_full_path("diffusion_models", str(file_b))
        return f"{lora_fingerprint(lora_name)}, {file_b}:{file_stamp(path)}"

    @classmethod
    def execute(
        cls,
        model: object,
        model_b: object = None,
        lora_name: str = NONE,
        file_b: str = NONE,
        lora_stack: object = None,
    ) -> io.NodeOutput:
        path = "" if lora_name == NONE else lora_file(lora_name)
        second = "" if file_b == NONE else folder_paths.get_full_path_or_raise("diffusion_models", file_b)
        name = "" if lora_name == NONE else lora_name
        report = inspect_model(model, model_b, path, name, second, patched=bool(lora_stack))
        report = add_contents(report, model, model_b, second, lora_stack)
        text = report_text(report)
        return io.NodeOutput(
            report, text, ui=with_inputs({"patchbay_report": [to_json(report)], "text": [text]}, model)
        )
