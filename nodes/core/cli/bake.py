"""The commands ``lora-patchbay bake`` and ``lora-patchbay resize``: a LoRA file made of another one."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, TextIO

from ..errors import HeaderError, PatchbayError
from ..report.text import clean, count_text, size

EXIT_OK, EXIT_WARNING, EXIT_FAILED = 0, 1, 2
_CONVERSIONS = {
    "never": "never", "difference": "difference where needed", "lora": "LoRA where needed", "all": "LoRA for all",
}  # fmt: skip
_DTYPES = {"file": "as in the file", "float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}


def add_bake_commands(commands: Any) -> None:
    """Add both commands to the parser's commands."""
    bake = commands.add_parser(
        "bake",
        help="write a LoRA with strengths in it",
        description="Write a LoRA with its strengths, block by block, baked into a new file. Formats stay as they are, "
        "and what a format cannot hold is refused unless --convert says what to do.",
    )
    bake.add_argument("--blocks", default="", help="strengths by block, such as 'all=0.8, single_blocks.*=0'")
    bake.add_argument("--strength-model", type=float, default=1.0, metavar="X", help="overall strength (default 1)")
    bake.add_argument(
        "--strength-clip", type=float, default=1.0, metavar="X", help="of text encoder layers (default 1)"
    )
    bake.add_argument("--convert", choices=list(_CONVERSIONS), default="never", help="layers that cannot hold theirs")
    _add_common(bake)
    resize = commands.add_parser(
        "resize",
        help="write a LoRA of smaller rank",
        description="Write the best approximation of a LoRA of a given rank or energy, with the error of every layer.",
    )
    resize.add_argument("--all", action="store_true", help="also make LoRAs of LoHa and LoKr layers")
    _add_common(resize)
    resize.set_defaults(blocks="", strength_model=1.0, strength_clip=1.0, convert="never", resize=True)
    bake.set_defaults(all=False, resize=False)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="LORA")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the new file")
    parser.add_argument("--model", type=Path, help="the diffusion model that it is for; strengths by block need it")
    parser.add_argument("--rank", type=int, default=0, help="largest rank of a layer (default: no limit)")
    parser.add_argument("--energy", type=float, default=1.0, help="share of the squared norm to keep (default: 1)")
    parser.add_argument("--dtype", choices=list(_DTYPES), default="file", help="how numbers are stored (default: file)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.set_defaults(run=run_bake)


def run_bake(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Both commands. Exit code 1 where layers were left out for another reason than strength 0, 2 for a refusal."""
    try:
        return _bake(options, out)
    except (PatchbayError, OSError) as error:
        message = str(error) if isinstance(error, PatchbayError) else f"{error.strerror or error}"
        err.write(f"{options.file.name}: {message}\n" if options.file.name not in message else f"{message}\n")
    except ImportError as error:
        err.write(f"{options.file.name}: baking needs {error.name or 'torch'}, which is not installed here.\n")
    return EXIT_FAILED


def _bake(options: argparse.Namespace, out: TextIO) -> int:
    from ..bake.file import Source, describe_file, free_path, make_options, write_baked
    from ..bake.plan import plan_bake
    from ..check.model_file import read_model_file
    from ..files.hashes import file_hashes
    from ..files.header import read_header
    from ..lora.file_kinds import looks_like_lora

    if options.resize and not options.rank and options.energy == 1.0:
        raise PatchbayError("resize wants --rank or --energy.")
    if not all(-1e6 < x < 1e6 for x in (options.strength_model, options.strength_clip)):
        raise PatchbayError("--strength-model and --strength-clip: expected finite numbers.")
    header = read_header(options.file)
    if not looks_like_lora(header):
        raise HeaderError(f"{header.name}: is not a LoRA; 'inspect' says what it is.")
    convert = _CONVERSIONS["all" if options.all else options.convert]
    wanted = make_options(convert, options.rank, options.energy, _DTYPES[options.dtype])
    model = read_model_file(options.model) if options.model is not None else None
    path, taken = free_path(_checked_output(options.output, options.file), options.overwrite)
    plan = plan_bake(header, model, options.strength_model, options.strength_clip, options.blocks)
    source = Source(
        header.name, file_hashes(options.file, header.data_start)["sha256"], options.strength_model,
        options.strength_clip, options.blocks.strip(), model.checked.summary.architecture if model else "",
    )  # fmt: skip
    baked = write_baked(path, list(plan.layers), wanted, source, header.metadata)
    lines = [taken, *describe_file(baked).splitlines(), *(f"left out: {line}" for line in plan.left_out)]
    for line in lines:
        out.write(f"{clean(line, 400)}\n" if line else "")
    out.write(f"{path}: {count_text(len(baked.layers), 'layer')}, {size(baked.size_bytes)}\n")
    lost = [line for line in plan.left_out if not line.endswith("its strength is 0")]
    return EXIT_WARNING if lost else EXIT_OK


def _checked_output(path: Path, source: Path) -> Path:
    """The output with ``.safetensors`` at its end.

    Raises:
        PatchbayError: it is the file that is read, or a folder.
    """
    path = path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")
    if path.is_dir():
        raise PatchbayError(f"{path}: is a folder; give the name of a file.")
    if path.exists() and os.path.samefile(path, source):
        raise PatchbayError(f"{path.name} is the file that is read; it is not replaced by itself.")
    return path
