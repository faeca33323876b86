"""The command ``lora-patchbay resize``: a LoRA file of smaller rank."""

from __future__ import annotations

import argparse
from typing import Any, TextIO

from .bake import add_writing_options, write_lora
from .exits import UsageError


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "resize",
        help="write a LoRA of smaller rank",
        description="Write the best approximation of a LoRA of a given rank or energy, with the error of every layer.",
    )
    parser.add_argument("--all", action="store_true", help="also make LoRAs of LoHa and LoKr layers")
    add_writing_options(parser)
    parser.set_defaults(run=run, blocks="", strength_model=1.0, strength_clip=1.0)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command: a bake at strength 1 that resizes."""
    if not options.rank and options.energy == 1.0:
        raise UsageError("resize: expected --rank or --energy, which say how much to keep.")
    options.convert = "all" if options.all else "never"
    return write_lora(options, out, "resize")
