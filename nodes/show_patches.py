"""Show what is really patched on a model, whoever patched it."""

from __future__ import annotations

from comfy_api.latest import io

from .core.report.report import to_json
from .core.report.text import report_text
from .host.inspect.patches import inspect_patches
from .sockets import CATEGORY, report_outputs, with_inputs


class PatchbayShowPatches(io.ComfyNode):
    """Reads the patcher, not the file names."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayShowPatches",
            display_name="Show Patches (Patchbay)",
            category=CATEGORY,
            description="Lists every weight of the model that is patched right now, by which LoRA or node, with "
            "which strength, and how large the change is relative to the weight itself.",
            search_aliases=["patched layers", "lora report", "lora debug", "what is patched"],
            is_output_node=True,
            inputs=[io.Model.Input("model", tooltip="The model to look at. It is not changed.")],
            outputs=[
                io.Model.Output("model", tooltip="The same model, to go on with."),
                *report_outputs(),
            ],
        )

    @classmethod
    def execute(cls, model: object) -> io.NodeOutput:
        report = inspect_patches(model)
        text = report_text(report)
        return io.NodeOutput(
            model, report, text, ui=with_inputs({"patchbay_report": [to_json(report)], "text": [text]}, model)
        )
