"""Say what a file is, from its header."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import folder_paths
from comfy_api.latest import io

from .core.check.inspect import inspect_file
from .core.compare.rank_curves import with_ranks
from .core.compare.two_files import with_second
from .core.files.header import read_header
from .core.report.report import Level, Report, to_json
from .core.report.text import report_text
from .host.apply.plan import MATCHES
from .host.comfyui.lora_input import NONE, lora_file, lora_fingerprint
from .host.comfyui.version import comfyui_version
from .host.inspect.stack_files import merge_model
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
            "adapter formats, ranks and which of them it needs, where the scale comes from, training metadata, "
            "quantisation. Compares a LoRA with a second one.",
            search_aliases=[
                "lora info",
                "lora metadata",
                "model info",
                "safetensors header",
                "trigger words",
                "compare loras",
                "lora rank",
            ],
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
                io.Combo.Input(
                    "lora_b",
                    options=[NONE, *folder_paths.get_filename_list("loras")],
                    default=NONE,
                    optional=True,
                    tooltip="A second LoRA to compare with, for example another epoch or a copy of unknown origin: "
                    "whether they are the same up to a factor, and how alike they are in each block.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The model that both LoRAs are for. Needed only to compare files that name layers "
                    "differently, or formats such as DoRA that depend on its weights. It is not changed.",
                ),
            ],
            outputs=report_outputs(),
        )

    @classmethod
    def execute(
        cls, source: dict[str, str], measure_layers: bool, hashes: bool, lora_b: str = NONE, model: Any = None
    ) -> io.NodeOutput:
        path = _path(source)
        report = inspect_file(path, hashes, measure_layers, comfyui_version())
        if report.lora is not None and measure_layers:
            report = with_ranks(report, read_header(path))
        if lora_b != NONE:
            report = _with_second(report, path, lora_b, model)
        text = report_text(report)
        return io.NodeOutput(report, text, ui=with_inputs({"patchbay_report": [to_json(report)], "text": [text]}))

    @classmethod
    def fingerprint_inputs(
        cls, source: dict[str, str], measure_layers: bool, hashes: bool, lora_b: str | None = NONE, **_: object
    ) -> str:
        try:
            status = os.stat(_path(source))
        except (FileNotFoundError, KeyError, TypeError):
            return ""  # execute says what is missing
        return f"{status.st_mtime_ns}-{status.st_size}, {lora_fingerprint(lora_b)}"


def _with_second(report: Report, path: str, lora_b: str, model: Any) -> Report:
    """
    Raises:
        PatchbayError: the second file cannot be read.
    """
    if report.lora is None:
        note = f"{lora_b} was not compared: the file that is inspected is not a LoRA."
        return replace(report, notes=(*report.notes, note), level=Level.WARNING)
    target = None if model is None else merge_model(MATCHES.model_keys(model, None), model)
    return with_second(report, read_header(path), lora_file(lora_b), target)


def _option(kind: str, name: str, folder: str, tooltip: str) -> io.DynamicCombo.Option:
    names = folder_paths.get_filename_list(folder)
    return io.DynamicCombo.Option(kind, [io.Combo.Input(name, options=names, tooltip=tooltip)])


def _path(source: dict[str, str]) -> str:
    """Full path of the chosen file; names that leave the folder are refused by folder_paths."""
    name, folder, _ = _SOURCES[source["source"]]
    return folder_paths.get_full_path_or_raise(folder, source[name])
