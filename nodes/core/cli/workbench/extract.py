"""The command ``lora-patchbay extract``: a LoRA out of the difference of two models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TextIO

from ...errors import PatchbayError
from ...report.text import clean, count_text, size
from ..bake import checked_output
from ..check import read_model
from ..exits import EXIT_OK, EXIT_WARNING, UsageError, describe, require
from ..output import say

_DTYPES = ("bfloat16", "float16", "float32")
_SHOWN = 12


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "extract",
        help="write the difference of two models as a LoRA",
        description="Write the difference of a model and its base as a LoRA of a given rank, or of the smallest rank "
        "that keeps a given share of its squared norm. One weight is in memory at a time.",
    )
    parser.add_argument("file", type=Path, metavar="MODEL")
    parser.add_argument("--base", type=Path, required=True, help="the model that it was made from")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the new file")
    parser.add_argument("--rank", type=int, default=0, help="largest rank of a layer")
    parser.add_argument("--energy", type=float, default=1.0, help="share of the squared norm to keep")
    parser.add_argument("--blocks", default="", help="strengths by block; what is 0 is left out")
    parser.add_argument("--dtype", choices=_DTYPES, default="bfloat16", help="how numbers are stored")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where a weight is only in one of the models."""
    require("extract", "torch", "safetensors", "numpy")
    from ...bake.file import free_path
    from ...bake.resize import Resizing
    from ...check.model_weights import ModelWeights
    from ...compare.extract import extract_lora

    wanted = Resizing(options.rank, options.energy)
    if wanted.keeps_all:
        raise UsageError("extract needs --rank, or --energy below 1.")
    path, taken = free_path(checked_output(options.output, options.file), options.overwrite)
    try:
        with ModelWeights(options.file) as tuned, ModelWeights(options.base) as base:
            done = extract_lora(path, tuned, base, read_model(options.base), wanted, options.blocks, options.dtype,
                                (options.file.name, options.base.name))  # fmt: skip
    except OSError as error:
        raise PatchbayError(describe(error, options.file)) from error
    lines = [taken, *(f"left out: {line}" for line in done.left_out[:_SHOWN])]
    for layer in done.layers:
        what = "whole difference" if layer.rank is None else f"rank {layer.rank}"
        lines.append(f"{layer.name}: {what}, error {layer.error:.2%}")
    for line in filter(None, lines):
        say(out, clean(line, 300))
    count = count_text(len(done.layers), "layer")
    say(out, f"{done.path}: {count}, {size(done.size_bytes)}; error in all {done.error:.2%}")
    return EXIT_WARNING if done.left_out else EXIT_OK
