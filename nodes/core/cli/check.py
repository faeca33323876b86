"""The command ``lora-patchbay check``: whether LoRAs fit the model in a file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import PatchbayError
from ..report.report import Report
from .exits import describe, require
from .places import Place, here, place, say_traffic
from .reports import add_forms, add_measure, report_each

if TYPE_CHECKING:
    from ..check.model_file import ModelFile


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "check", help="say whether LoRAs fit a model", description="Say whether LoRAs fit the model in a file."
    )
    parser.add_argument("files", nargs="+", type=place, metavar="LORA")
    parser.add_argument("--model", required=True, type=place, help="diffusion model or checkpoint: safetensors or GGUF")
    add_forms(parser, "one JSON array of reports", "comma-separated values, one line a layer")
    add_measure(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command."""
    from ..check.files import check_file

    if options.measure:
        require("check --measure", "numpy")
    model = read_model(options.model)
    say_traffic(options.model, err)

    def report(file: Place) -> Report:
        if options.measure:
            with here(file, err) as path:
                return check_file(path, model, True).report
        made = check_file(file, model).report
        say_traffic(file, err)
        return made

    return report_each(options, out, err, report)


def read_model(path: Place) -> ModelFile:
    """The model of ``--model``.

    Raises:
        PatchbayError: the file cannot be read or holds no model.
    """
    from ..check.model_file import read_model_file

    try:
        return read_model_file(path)
    except (PatchbayError, OSError) as error:
        raise PatchbayError(describe(error, path)) from error
