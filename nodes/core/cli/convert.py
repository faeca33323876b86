"""The command ``lora-patchbay convert``: a LoRA in the spelling of another program."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TextIO

from ..errors import PatchbayError
from ..report.text import clean, count_text, size
from .bake import checked_output, read_lora_header
from .check import read_model
from .exits import EXIT_OK, EXIT_WARNING, UsageError, describe, require
from .output import say

_TARGETS = ("comfy", "diffusers", "kohya", "peft")


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "convert",
        help="write a LoRA as another program reads it",
        description="Write a LoRA so that ComfyUI, diffusers, kohya's scripts or PEFT read it as it is meant: the same "
        "changes under their names, fused or split as their models are. What cannot be said there is refused.",
    )
    parser.add_argument("file", type=Path, metavar="LORA")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the new file; PEFT: a folder")
    parser.add_argument("--to", choices=_TARGETS, required=True, help="who is to read it")
    parser.add_argument("--model", type=Path, help="the diffusion model that it is for: its layers decide")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where layers were left out because they do not land on the model."""
    if options.model is None:
        raise UsageError("convert needs --model: the shapes of its layers decide what is fused and what is split.")
    require("convert", "torch", "safetensors", "numpy")
    try:
        return _convert(options, out)
    except PatchbayError as error:
        raise PatchbayError(describe(error, options.file)) from error


def _convert(options: argparse.Namespace, out: TextIO) -> int:
    from ..bake.convert import plan_conversion
    from ..bake.convert_write import write_converted
    from ..bake.file import free_path

    header = read_lora_header(options.file)
    model = read_model(options.model)
    conversion = plan_conversion(header, model)
    path, taken = _output(options, free_path)
    try:
        written = write_converted(path, conversion, model, options.to, header.metadata)
    except OSError as error:
        raise PatchbayError(f"{path}: cannot be written: {error.strerror or error}.") from error
    for line in (taken, *(f"left out: {line}" for line in conversion.left_out)):
        if line:
            say(out, clean(line, 400))
    say(out, f"{written.path}: {count_text(written.layers, 'layer')} for {options.to}, {size(written.size_bytes)}")
    return EXIT_WARNING if conversion.left_out else EXIT_OK


def _output(options: argparse.Namespace, free_path: Any) -> tuple[Path, str]:
    if options.to != "peft":
        return free_path(checked_output(options.output, options.file), options.overwrite)
    folder: Path = options.output
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not options.overwrite:
        raise PatchbayError(f"{folder}: is not empty; PEFT needs a folder of its own. Give another, or --overwrite.")
    return folder, ""
