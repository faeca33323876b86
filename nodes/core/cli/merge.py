"""The command ``lora-patchbay merge``: several LoRAs as one file."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import PatchbayError
from ..report.text import clean, count_text, size
from .bake import checked_output
from .check import read_model
from .exits import EXIT_OK, EXIT_WARNING, describe, require
from .output import say
from .sources import HELP, METAVAR, TypedSource, parse_source
from .workbench.read import read_sources

if TYPE_CHECKING:
    from ..bake.merge import MergedFile
    from ..check.model_file import ModelFile

_DTYPES = {"file": "as in the file", "float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
_TARGETS = ("comfy", "diffusers", "kohya", "peft")


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "merge",
        help="write several LoRAs as one",
        description="Write several LoRAs, each with its strength, as one file that does in any loader at strength 1 "
        "what they did together. Exact unless a rank, an energy or a dtype asks for less.",
    )
    parser.add_argument("files", nargs="+", metavar=METAVAR, help=HELP)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the new file")
    parser.add_argument(
        "--model", type=Path, help="the model they are for: needed for strengths by block, for files that spell names "
        "differently, and for formats that depend on its weights",
    )  # fmt: skip
    parser.add_argument("--rank", type=int, default=0, help="largest rank of a layer (default: no limit)")
    parser.add_argument("--energy", type=float, default=1.0, help="share of the squared norm to keep (default: 1)")
    parser.add_argument(
        "--dtype", choices=list(_DTYPES), default="file",
        help="how numbers are stored (default: as in the files, float32 where that would round)",
    )  # fmt: skip
    parser.add_argument("--to", choices=_TARGETS, default="", help="names of this program; needs --model")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where layers were left out for another reason than strength 0."""
    require("merge", "torch", "safetensors", "numpy")
    typed = [parse_source(text) for text in options.files]
    if options.to and options.model is None:
        raise PatchbayError(f"--to {options.to} needs --model: whose names they are is a matter of the model.")
    try:
        return _merge(typed, options, out)
    except OSError as error:
        raise PatchbayError(describe(error, options.output)) from error


def _merge(typed: list[TypedSource], options: argparse.Namespace, out: TextIO) -> int:
    from ..bake.file import free_path, make_options
    from ..bake.merge import write_merged
    from ..bake.merge_plan import model_of_file, plan_merge
    from ..check.model_weights import ModelWeights

    sources = read_sources(options.files)
    wanted = make_options("never", options.rank, options.energy, _DTYPES[options.dtype])
    target, taken = options.output, ""
    if options.to != "peft":
        for each in typed:
            target = checked_output(options.output, each.path)
        target, taken = free_path(target, options.overwrite)
    with ExitStack() as opened:
        model = file = None
        if options.model is not None:
            file = read_model(options.model)
            weights = opened.enter_context(ModelWeights(options.model))
            model = model_of_file(file, weights.read)
        plan = plan_merge(sources, model, bool(options.to))
        if options.to in ("", "comfy"):
            merged = write_merged(target, plan, sources, wanted, model)
        else:
            folder = opened.enter_context(tempfile.TemporaryDirectory(dir=_existing(target)))
            merged = write_merged(Path(folder) / "merged.safetensors", plan, sources, wanted, model)
            assert file is not None
            target = _converted(merged, file, options, target)
    _tell(merged, target, taken, plan.left_out, out)
    return EXIT_WARNING if plan.left_out else EXIT_OK


def _existing(target: Path) -> Path:
    """The nearest folder that exists: on the disk of the target, where there is room."""
    return next(folder for folder in target.resolve().parents if folder.is_dir())


def _converted(merged: MergedFile, model: ModelFile, options: argparse.Namespace, target: Path) -> Path:
    from ..bake.convert import plan_conversion
    from ..bake.convert_write import write_converted
    from ..files.header import read_header

    if options.to == "peft" and target.exists() and not options.overwrite and (
        not target.is_dir() or any(target.iterdir())
    ):  # fmt: skip
        raise PatchbayError(f"{target}: is not empty; PEFT needs a folder of its own. Give another, or --overwrite.")
    header = read_header(merged.path)
    return write_converted(target, plan_conversion(header, model), model, options.to, header.metadata).path


def _tell(merged: MergedFile, target: Path, taken: str, left_out: tuple[str, ...], out: TextIO) -> None:
    lines = [taken, *merged.notes, *(f"left out: {line}" for line in left_out)]
    lines += [
        f"{blend.name}: {layer.how}{f' to rank {layer.rank}' if layer.rank else ''}, error {layer.error:.2%}"
        for blend, layer in merged.layers
        if layer.error
    ]
    for line in filter(None, lines):
        say(out, clean(line, 400))
    ways = ", ".join(f"{count} {way}" for way, count in merged.ways.items())
    error = f"; error in all {merged.error:.2%}" if merged.error else "; exact"
    say(out, f"{target}: {count_text(len(merged.layers), 'layer')} ({ways}), {size(target.stat().st_size)}{error}")
