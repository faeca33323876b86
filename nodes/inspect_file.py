"""Say what a file is, from its header."""

from __future__ import annotations

import os

import folder_paths
from comfy_api.latest import io

from .core.check.inspect import inspect_file
from .core.report.report import to_json
from .core.report.text import report_text
from .host.comfyui.version import comfyui_version
from .sockets import CATEGORY, report_outputs, with_inputs

_SOURCES = {
    "LoRA": ("lora_name", "loras", "The LoRA file, from your loras folders."),
    "diffusion model": ("model_name", "diffusion_models", "The model file, from your diffusion_models folders."),
    "checkpoint": ("ckpt_name", "checkpoints", "The checkpoint file, from your checkpoints folders."),
    "VAE": ("vae_name", "vae", "The VAE file, from your vae folders."),
    "text encoder": ("text_encoder_name", "text_encoders", "The file, from your text_encoders folders."),
    "embedding": ("embedding_name", "embeddings", "The textual-inversion file, from your embeddings folders."),
}
"""Kind of file to the input that names it, the folder it lies in, and the input's tooltip."""


class PatchbayInspectFile(io.ComfyNode):
    """What is this file, and what was it made for?"""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayInspectFile",
            display_name="Inspect File (Patchbay)",
            category=CATEGORY,
            description="Says what a file is and which model it was made for, without loading it: architecture, "
            "adapter formats, ranks, where the scale comes from, training metadata, quantisation.",
            search_aliases=["lora info", "lora metadata", "model info", "safetensors header", "trigger words"],
            is_output_node=True,
            inputs=[
                io.DynamicCombo.Input(
                    "source",
                    options=[_option(kind, *where) for kind, where in _SOURCES.items()],
                    tooltip="Which of your model folders the file is in. The report says what the file actually is.",
                ),
                io.Boolean.Input(
                    "measure_layers",
                    default=True,
                    tooltip="For a LoRA: also read its tensors and measure how much each layer changes. Off: reads "
                    "only the header.",
                ),
                io.Boolean.Input(
                    "hashes",
                    default=False,
                    tooltip="Also compute the hashes under which model hubs know the file. Reads the whole file, which "
                    "takes seconds for a large one.",
                ),
            ],
            outputs=report_outputs(),
        )

    @classmethod
    def execute(cls, source: dict[str, str], measure_layers: bool, hashes: bool) -> io.NodeOutput:
        report = inspect_file(_path(source), hashes, measure_layers, comfyui_version())
        text = report_text(report)
        return io.NodeOutput(report, text, ui=with_inputs({"patchbay_report": [to_json(report)], "text": [text]}))

    @classmethod
    def fingerprint_inputs(cls, source: dict[str, str], measure_layers: bool, hashes: bool) -> str:
        try:
            status = os.stat(_path(source))
        except (FileNotFoundError, KeyError, TypeError):
            return ""  # execute says what is missing
        return f"{status.st_mtime_ns}-{status.st_size}"


def _option(kind: str, name: str, folder: str, tooltip: str) -> io.DynamicCombo.Option:
    names = folder_paths.get_filename_list(folder)
    return io.DynamicCombo.Option(kind, [io.Combo.Input(name, options=names, tooltip=tooltip)])


def _path(source: dict[str, str]) -> str:
    """Full path of the chosen file; names that leave the folder are refused by folder_paths."""
    name, folder, _ = _SOURCES[source["source"]]
    return folder_paths.get_full_path_or_raise(folder, source[name])
