"""Strength by block as a value of its own: presets, other programs' formats, and one's own items."""

from __future__ import annotations

import logging

from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.report.report import to_json
from .core.report.text import report_text
from .core.strengths.formats import strength_formats
from .core.strengths.text import parse_block_strengths
from .host.apply.block_strengths import NO_FORMAT, compose, make_strengths
from .host.apply.presets import NO_PRESET, preset_blocks, preset_values
from .sockets import CATEGORY, SHOWS_RESULT, report_outputs, with_inputs


class PatchbayBlockStrengths(io.ComfyNode):
    """Makes the text that Apply LoRA (Patchbay) takes as ``blocks``."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayBlockStrengths",
            **SHOWS_RESULT,
            display_name="Block Strengths (Patchbay)",
            category=CATEGORY,
            description="Strength by block from a preset, from another program's format and from your own items, for "
            "Apply LoRA (Patchbay). With a model it is checked and spelled out block by block; it can also be written "
            "in another program's format.",
            search_aliases=["lbw", "block weight", "lora block weight", "preset", "inspire", "import", "export"],
            inputs=[
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="A model to check the items against and to spell them out for. It is not changed.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="A text encoder, to check items that begin with te. It is not changed.",
                ),
                io.Combo.Input(
                    "preset",
                    options=preset_values(),
                    default=NO_PRESET,
                    tooltip="What to start from: a shipped preset, or one that you saved (they begin with user/).",
                ),
                io.String.Input(
                    "blocks",
                    default="",
                    multiline=True,
                    tooltip="Your own items, on top of the preset and the import: the later item wins. Example: "
                    "double_blocks.0-1=0.5, *.mlp=0, te=0.7",
                ),
                *_format_inputs(),
            ],
            outputs=[
                io.String.Output("blocks", tooltip="Block strengths for the blocks input of Apply LoRA (Patchbay)."),
                io.String.Output("exported", tooltip="The same in the export format; empty without one."),
                *report_outputs(),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        preset: str | None = None,
        blocks: str | None = None,
        import_format: str | None = None,
        import_text: str | None = None,
    ) -> bool | str:
        try:
            parse_block_strengths(blocks or "")
            compose(preset or NO_PRESET, import_format or NO_FORMAT, import_text or "", "")
        except PatchbayError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, preset: str | None = None, **_: object) -> str:
        """A user's preset can change under its name."""
        try:
            return preset_blocks(preset or NO_PRESET)
        except PatchbayError as error:
            return str(error)

    @classmethod
    def execute(
        cls,
        preset: str,
        blocks: str,
        import_format: str = NO_FORMAT,
        import_text: str = "",
        export_format: str = NO_FORMAT,
        model: object = None,
        clip: object = None,
    ) -> io.NodeOutput:
        made = make_strengths(preset, blocks, import_format, import_text, export_format, model, clip)
        if made.report.level.value != "ok":
            logging.warning("LoRA Patchbay: block strengths: %s", made.report.summary)
        text = report_text(made.report)
        return io.NodeOutput(
            made.blocks,
            made.exported,
            made.report,
            text,
            ui=with_inputs({"patchbay_report": [to_json(made.report)], "text": [text]}),
        )


def _format_inputs() -> list[io.Input]:
    """Other programs' formats, read and written."""
    formats = [NO_FORMAT, *(item.label for item in strength_formats().values())]
    return [
        io.Combo.Input(
            "import_format",
            options=formats,
            default=NO_FORMAT,
            advanced=True,
            tooltip="The format of the import text: program and model. It is never guessed from the number of "
            "values.",
        ),
        io.String.Input(
            "import_text",
            default="",
            multiline=True,
            advanced=True,
            tooltip="Block weights from another program, such as OUTD:1,0,0,0,... What cannot be carried "
            "over is listed in the report.",
        ),
        io.Combo.Input(
            "export_format",
            options=formats,
            default=NO_FORMAT,
            advanced=True,
            tooltip="Also write the strengths in this format, to the output exported. The report lists "
            "anything the format cannot express.",
        ),
    ]
