"""The command ``lora-patchbay scan``: one line about every model file below a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from ..check.scan import ScanRow, find_files, scan_file
from .check import read_model
from .exits import EXIT_DOUBT, EXIT_OK, EXIT_UNREADABLE, EXIT_WARNING, UsageError, gravest, require
from .output import with_progress, write_scan
from .reports import VERDICT_CODES, add_forms, add_measure

_CHUNK = 16
_WORTH_PARALLEL = 64
"""Below this many files a second process costs more than it saves."""


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser("scan", help="list a folder", description="List every model file below a folder.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--model", type=Path, help="also say whether the LoRAs fit the model in this file")
    add_forms(parser, "one JSON object a line", "comma-separated values, one line a file")
    add_measure(parser)
    parser.add_argument("--jobs", type=int, default=0, help="processes to use (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="hide the progress counter")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command."""
    if not options.folder.is_dir():
        is_file = options.folder.exists()
        what = "is a file; 'lora-patchbay inspect' says what it is" if is_file else "no such folder"
        raise UsageError(f"{options.folder}: {what}.")
    if options.measure and options.model is None:
        raise UsageError("--measure says how much of a LoRA lands in a model: give --model, too.")
    if options.measure:
        require("scan --measure", "numpy")
    if options.model is not None:
        read_model(options.model)
    found = find_files(options.folder)
    codes: list[int] = []

    def named() -> Iterator[ScanRow]:
        for row in chain(found.problems, _rows(found.files, options)):
            codes.append(row_code(row))
            yield row._replace(file=os.path.relpath(row.file, options.folder))

    progress = not options.quiet and err.isatty()
    total = len(found.problems) + len(found.files)
    write_scan(out, with_progress(named(), total, err) if progress else named(), options.form)
    return gravest(codes)


def row_code(row: ScanRow) -> int:
    """Exit code of one line."""
    if row.error:
        return EXIT_UNREADABLE
    attention = EXIT_DOUBT if row.doubts else EXIT_WARNING if row.warning else EXIT_OK
    return VERDICT_CODES.get(row.verdict, EXIT_OK) or attention


def _rows(files: Sequence[Path], options: argparse.Namespace) -> Iterator[ScanRow]:
    count = options.jobs if options.jobs > 0 else os.cpu_count() or 1
    scan = partial(scan_file, model=options.model, measure=options.measure)
    if count == 1 or len(files) < _WORTH_PARALLEL:
        yield from map(scan, files)
        return
    with ProcessPoolExecutor(count) as pool:
        yield from pool.map(scan, files, chunksize=_CHUNK)
