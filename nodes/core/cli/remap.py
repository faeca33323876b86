"""The command ``lora-patchbay remap``: a LoRA for a model with blocks inserted or removed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import PatchbayError
from ..report.text import clean, count_text, size
from .bake import checked_output, read_lora_header
from .check import read_model
from .exits import EXIT_OK, EXIT_WARNING, UsageError, describe, require
from .output import say

if TYPE_CHECKING:
    from ..lora.file import LoraFile
    from ..match.alignment import MeasuredMap
    from ..model.block_map import BlockMap
    from ..model.family import Family

def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "remap",
        help="renumber the blocks of a LoRA for a deeper or pruned model",
        description="Write a LoRA with its blocks renumbered, for a model that was made from another one by inserting "
        "or removing blocks. The map is published for some models; otherwise give it, or measure it from the two "
        "models. Tensors stay bit for bit, and no file is renumbered twice.",
    )
    parser.add_argument("file", type=Path, metavar="LORA")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the new file")
    parser.add_argument("--map", default="", metavar="TEXT", help="old to new, such as 'blocks: 0->0, 1->2, 2->-'")
    parser.add_argument("--model", type=Path, help="the model to use it on: its depth picks a published map")
    parser.add_argument("--from-model", type=Path, metavar="A", help="the model that the LoRA was made for")
    parser.add_argument("--to-model", type=Path, metavar="B", help="the model to use it on: measure the map")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where layers were left out because their block has no counterpart."""
    pair = (options.from_model, options.to_model)
    if any(pair) and (not all(pair) or options.map or options.model):
        raise UsageError("measuring a map needs --from-model and --to-model, without --map and --model.")
    if all(pair):
        require("measuring a block map", "numpy")
    try:
        return _remap(options, out)
    except PatchbayError as error:
        raise PatchbayError(describe(error, options.file)) from error


def _remap(options: argparse.Namespace, out: TextIO) -> int:
    from ..bake.file import free_path
    from ..bake.remap import write_renumbered
    from ..lora.file import read_lora
    from ..match.renumbered import renumber_file

    header = read_lora_header(options.file)
    lora = read_lora(header)
    block_map, family, lines = _choose(options, lora)
    if not block_map.moves:
        raise PatchbayError(f"{header.name}: its blocks are numbered for this model already; nothing was written.")
    renumbered = renumber_file(lora, block_map, family)
    path, taken = free_path(checked_output(options.output, options.file), options.overwrite)
    try:
        written = write_renumbered(path, header, renumbered)
    except OSError as error:
        raise PatchbayError(f"{path}: cannot be written: {error.strerror or error}.") from error
    left_out = [f"left out: {layer.name}: its block has no counterpart" for layer in renumbered.left_out]
    for line in (taken, *lines, f"block map: {block_map}", *written.notes, *left_out):
        if line:
            say(out, clean(line, 2_000))
    moved, kept = len(renumbered.names), len(renumbered.file.layers)
    say(out, f"{path}: {count_text(kept, 'layer')}, {moved} of them renumbered, {size(written.size_bytes)}")
    return EXIT_WARNING if left_out else EXIT_OK


def _choose(options: argparse.Namespace, lora: LoraFile) -> tuple[BlockMap, Family | None, list[str]]:
    """The map that the options ask for, the family whose names count, and what to say of how the map was found."""
    from ..bake.remap import choose_map, file_family, measure_files

    if options.from_model is not None:
        measured = measure_files(options.from_model, options.to_model)
        return measured.block_map, measured.family or file_family(lora), _measured(measured)
    model = read_model(options.model) if options.model is not None else None
    return choose_map(options.map, lora, model), file_family(lora, model), []


def _measured(measured: MeasuredMap) -> list[str]:
    worst = measured.worst
    return [
        f"measured: {count_text(len(measured.pairs), 'pair')} of blocks; the least certain is {worst.kind}.{worst.old} "
        f"-> {worst.new} (cosine {worst.cosine:.3f}, next best {worst.runner_up:.3f})"
    ]
