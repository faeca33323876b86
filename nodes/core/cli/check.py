"""The command ``lora-patchbay check``: whether LoRAs fit the model in a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import PatchbayError
from .exits import describe, require
from .reports import add_forms, add_measure, report_each

if TYPE_CHECKING:
    from ..check.model_file import ModelFile


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "check", help="say whether LoRAs fit a model", description="Say whether LoRAs fit the model in a file."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="LORA")
    parser.add_argument("--model", required=True, type=Path, help="diffusion model or checkpoint: safetensors or GGUF")
    add_forms(parser, "one JSON array of reports", "comma-separated values, one line a layer")
    add_measure(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command."""
    from ..check.files import check_file

    if options.measure:
        require("check --measure", "numpy")
    model = read_model(options.model)
    return report_each(options, out, err, lambda path: check_file(path, model, options.measure).report)


def read_model(path: Path) -> ModelFile:
    """The model of ``--model``.

    Raises:
        PatchbayError: the file cannot be read or holds no model.
    """
    from ..check.model_file import read_model_file

    try:
        return read_model_file(path)
    except (PatchbayError, OSError) as error:
        raise PatchbayError(describe(error, path)) from error
