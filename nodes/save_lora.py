"""Save a LoRA with block strengths baked in, converted or resized as the user says."""

from __future__ import annotations

import logging
from pathlib import Path

from comfy_api.latest import io

from .core.bake.file import make_options, relative_name
from .core.bake.layer import CONVERSIONS, DTYPES
from .core.errors import PatchbayError
from .core.files.names import file_in_folder
from .core.report.report import to_json
from .core.report.text import report_text
from .core.strengths.text import parse_block_strengths
from .host.apply.renumber import check_map_text
from .host.bake.save import NAMES, save_lora
from .host.comfyui.folders import writable_lora_folder
from .host.comfyui.lora_input import lora_file, lora_file_input, lora_fingerprint
from .sockets import BLOCK_MAP, CATEGORY, report_outputs, with_inputs


class PatchbaySaveLora(io.ComfyNode):
    """Writes what Apply LoRA would apply into a file of its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbaySaveLora",
            display_name="Save LoRA (Patchbay)",
            category=CATEGORY,
            description="Bakes the strengths of a LoRA, block by block, into a new file in models/loras, which any "
            "loader then applies at strength 1. Can also resize it, and convert formats that cannot store a "
            "strength.",
            search_aliases=["bake lora", "lora block weight", "resize lora", "export lora", "convert lora"],
            is_output_node=True,
            inputs=[*_source_inputs(), *_file_inputs()],
            outputs=[
                io.String.Output("file_name", tooltip="The new file as the list of LoRAs names it."),
                *report_outputs(),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, blocks: str | None = None, file_name: str | None = None, block_map: str | None = None
    ) -> bool | str:
        try:
            parse_block_strengths(blocks or "")
            check_map_text(block_map or "")
            if file_name is not None:
                file_in_folder(writable_lora_folder(), file_name, "loras")
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
        file_name: str,
        convert: str,
        rank: int,
        energy: float,
        dtype: str,
        names: str,
        overwrite: bool,
        block_map: str = "",
        clip: object = None,
    ) -> io.NodeOutput:
        path = lora_file(lora_name)
        root = Path(writable_lora_folder()).resolve()
        target = file_in_folder(root, file_name, "loras")
        if target.exists() and overwrite and target.samefile(path):
            raise PatchbayError(
                f"file_name: {target.name} is the LoRA that is read; it is not replaced by itself. Choose another name."
            )
        options = make_options(convert, rank, energy, dtype)
        saved = save_lora(
            path, lora_name, model, clip, (strength_model, strength_clip), blocks, options, target, names, overwrite,
            block_map,
        )  # fmt: skip
        if saved.report.level.value != "ok":
            logging.warning("LoRA Patchbay: %s: %s", saved.file.path.name, saved.report.summary)
        text = report_text(saved.report)
        name = relative_name(saved.file.path, root)
        return io.NodeOutput(
            name, saved.report, text, ui=with_inputs({"patchbay_report": [to_json(saved.report)], "text": [text]})
        )


def _source_inputs() -> list[io.Input]:
    """The same inputs as Apply LoRA has."""
    return [
        io.Model.Input("model", tooltip="The diffusion model that the LoRA is for: its blocks define the strengths, "
        "and conversions need its weights. It is not changed."),
        io.Clip.Input("clip", optional=True, tooltip="The text encoder. Without it, a LoRA's text encoder layers are "
                      "kept as they are, with strength_clip and the strength of te."),
        lora_file_input("The LoRA file, from your loras folders. It stays as it is."),
        io.Float.Input("strength_model", default=1.0, min=-100.0, max=100.0, step=0.01,
                       tooltip="How strongly the new file changes the diffusion model when it is loaded at 1."),
        io.Float.Input("strength_clip", default=1.0, min=-100.0, max=100.0, step=0.01,
                       tooltip="How strongly the new file changes the text encoder when it is loaded at 1."),
        io.String.Input(
            "blocks",
            default="",
            multiline=True,
            tooltip="Strength by block, multiplied with the strengths above. Empty: 1 everywhere. Layers at 0 are "
            "left out. Example: double_blocks.0-1=0.5, single_blocks.*=0, single_blocks.3.attn=1.2, te=0.7",
        ),
    ]  # fmt: skip


def _file_inputs() -> list[io.Input]:
    return [
        io.String.Input("file_name", default="baked", tooltip="The new file in models/loras; folder/name makes a "
                        "sub-folder. A name that is taken gets a number, unless overwrite is on."),
        io.Combo.Input(
            "convert",
            options=list(CONVERSIONS),
            default=CONVERSIONS[0],
            tooltip="OFT, BOFT and DoRA can be kept only at strength 1, and ComfyUI's own loader computes some "
            "formats differently. never: keep every format, and refuse what cannot be kept. difference where "
            "needed: such layers become whole differences for this model (exact, large). LoRA where needed: such "
            "layers become LoRAs of the given rank or energy. LoRA for all: every layer becomes a LoRA.",
        ),
        io.Int.Input("rank", default=0, min=0, max=4096, tooltip="Largest rank of LoRA layers: each is replaced by "
                     "its best approximation of this rank (SVD), and the report gives the error. 0: no limit."),
        io.Float.Input(
            "energy", default=1.0, min=0.01, max=1.0, step=0.001,
            tooltip="Share of a layer's squared norm that a LoRA must keep; each layer gets the smallest rank that "
            "does. 1: all of it. With a rank as well, the smaller of the two wins.",
        ),
        io.Combo.Input("dtype", options=list(DTYPES), default=DTYPES[0], tooltip="How numbers are stored. As in the "
                       "file keeps every tensor that the strength does not touch bit for bit."),
        io.Combo.Input(
            "names", options=list(NAMES), default=NAMES[0], advanced=True,
            tooltip="Names of the layers. As in the file: kept wherever ComfyUI's own loader knows them. ComfyUI's "
            "own: as ComfyUI names the weights, for every layer that has such a name.",
        ),
        io.Boolean.Input("overwrite", default=False, tooltip="On: a file of this name is replaced. Off: it stays, and "
                         "the new one gets a number."),
        io.String.Input("block_map", default="", optional=True, advanced=True, tooltip=BLOCK_MAP),
    ]  # fmt: skip
