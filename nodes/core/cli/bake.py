"""The command ``lora-patchbay bake``: a LoRA file with strengths in it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import HeaderError, PatchbayError
from ..report.text import clean, count_text, size
from .check import read_model
from .exits import EXIT_OK, EXIT_WARNING, UsageError, describe, require
from .output import say

if TYPE_CHECKING:
    from ..bake.plan import BakePlan
    from ..files.header import Header

_CONVERSIONS = {
    "never": "never", "difference": "difference where needed", "lora": "LoRA where needed", "all": "LoRA for all",
}  # fmt: skip
_DTYPES = {"file": "as in the file", "float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
_SUFFIXES = (".safetensors", ".sft")
_OTHER_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".gguf")


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "bake",
        help="write a LoRA with strengths in it",
        description="Write a LoRA with its strengths, block by block, baked into a new file. Formats stay as they are, "
        "and what a format cannot hold is refused unless --convert says what to do.",
    )
    parser.add_argument("--blocks", default="", help="strengths by block, such as 'all=0.8, single_blocks.*=0'")
    parser.add_argument("--strength-model", type=float, default=1.0, metavar="X", help="overall strength (default 1)")
    parser.add_argument(
        "--strength-clip", type=float, default=1.0, metavar="X", help="of text encoder layers (default 1)"
    )
    parser.add_argument("--convert", choices=list(_CONVERSIONS), default="never", help="layers that cannot hold theirs")
    add_writing_options(parser)
    parser.set_defaults(run=run)


def add_writing_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``bake`` and ``resize`` share."""
    parser.add_argument("file", type=Path, metavar="LORA")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the new file")
    parser.add_argument("--model", type=Path, help="the diffusion model that it is for; strengths by block need it")
    parser.add_argument("--rank", type=int, default=0, help="largest rank of a layer (default: no limit)")
    parser.add_argument("--energy", type=float, default=1.0, help="share of the squared norm to keep (default: 1)")
    parser.add_argument("--dtype", choices=list(_DTYPES), default="file", help="how numbers are stored (default: file)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where layers were left out for another reason than strength 0."""
    if not all(-1e6 < x < 1e6 for x in (options.strength_model, options.strength_clip)):
        raise UsageError("--strength-model and --strength-clip: expected finite numbers.")
    return write_lora(options, out, "bake")


def write_lora(options: argparse.Namespace, out: TextIO, command: str) -> int:
    """Plan and write the new file, and say what became of each layer.

    Raises:
        PatchbayError: a refusal; nothing was written.
    """
    require(command, "torch", "safetensors", "numpy")
    try:
        return _write(options, out)
    except PatchbayError as error:
        raise PatchbayError(describe(error, options.file)) from error


def _write(options: argparse.Namespace, out: TextIO) -> int:
    from ..bake.file import Source, describe_file, free_path, make_options, write_baked
    from ..bake.plan import plan_bake
    from ..files.hashes import file_hashes

    header = read_lora_header(options.file)
    wanted = make_options(_CONVERSIONS[options.convert], options.rank, options.energy, _DTYPES[options.dtype])
    model = read_model(options.model) if options.model is not None else None
    path, taken = free_path(checked_output(options.output, options.file), options.overwrite)
    plan = plan_bake(header, model, options.strength_model, options.strength_clip, options.blocks)
    if not plan.layers:
        raise PatchbayError(_nothing_left(plan, options))
    source = Source(
        header.name, file_hashes(options.file, header.data_start)["sha256"], options.strength_model,
        options.strength_clip, options.blocks.strip(), model.checked.summary.architecture if model else "",
    )  # fmt: skip
    try:
        baked = write_baked(path, list(plan.layers), wanted, source, header.metadata)
    except OSError as error:
        raise PatchbayError(f"{path}: cannot be written: {error.strerror or error}.") from error
    for line in (taken, *describe_file(baked).splitlines(), *(f"left out: {line}" for line in plan.left_out)):
        if line:
            say(out, clean(line, 400))
    say(out, f"{path}: {count_text(len(baked.layers), 'layer')}, {size(baked.size_bytes)}")
    return EXIT_WARNING if _lost(plan) else EXIT_OK


def read_lora_header(path: Path) -> Header:
    from ..files.header import read_header
    from ..lora.file_kinds import looks_like_lora

    header = read_header(path)
    if not looks_like_lora(header):
        raise HeaderError(f"{header.name}: is not a LoRA; 'inspect' says what it is.")
    return header


def _lost(plan: BakePlan) -> list[str]:
    return [line for line in plan.left_out if not line.endswith("its strength is 0")]


def _nothing_left(plan: BakePlan, options: argparse.Namespace) -> str:
    """Why no layer can be written, and what to change."""
    lost = _lost(plan)
    if not lost:
        return f"{options.file.name}: every layer has strength 0, so no layer is left to write. Raise --strength-model."
    fits = f" fits {options.model.name}; 'lora-patchbay check' says why" if options.model else " can be written"
    return f"{options.file.name}: no layer{fits}. For example {lost[0]}."


def checked_output(path: Path, source: Path) -> Path:
    """The output with ``.safetensors`` at its end.

    Raises:
        PatchbayError: it is the file that is read, a folder, or has the name of another kind of file.
    """
    if path.is_dir():
        raise PatchbayError(f"{path}: is a folder; give the name of the new file, such as {path / source.name}.")
    if path.parent.exists() and not path.parent.is_dir():
        raise PatchbayError(f"{path}: cannot be written: {path.parent} is a file, not a folder.")
    if path.suffix.lower() in _OTHER_SUFFIXES:
        raise PatchbayError(f"{path}: a safetensors file is written; expected a name that ends in .safetensors.")
    if path.suffix.lower() not in _SUFFIXES:
        path = path.with_name(f"{path.name}.safetensors")
    if path.is_dir():
        raise PatchbayError(f"{path}: is a folder; give another name.")
    if path.exists() and os.path.samefile(path, source):
        raise PatchbayError(f"{path} is the file that is read; it is not replaced by itself.")
    return path
