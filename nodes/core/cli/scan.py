"""The command ``lora-patchbay scan``: one line about every model file below a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from ..check.collection import Question, find_library, library_rows
from ..check.index import Index, default_index, question_of
from ..check.same import same_files
from ..check.scan import ScanRow
from ..errors import PatchbayError
from .check import read_model
from .exits import EXIT_DOUBT, EXIT_OK, EXIT_UNREADABLE, EXIT_WARNING, UsageError, describe, gravest, require
from .output import say, with_progress, write_parquet, write_scan
from .places import place
from .reports import VERDICT_CODES, add_forms, add_measure


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser("scan", help="list a folder", description="List every model file below a folder.")
    parser.add_argument("folder", type=place, metavar="FOLDER")
    parser.add_argument("--model", type=place, help="also say whether the LoRAs fit the model in this file")
    add_forms(parser, "one JSON object a line", "comma-separated values, one line a file")
    add_measure(parser)
    parser.add_argument("--jobs", type=int, default=0, help="processes to use (default: one a core)")
    parser.add_argument("--cluster", metavar="ADDRESS", help="scan on the workers of this dask.distributed scheduler")
    parser.add_argument("--only", choices=("fits", "no-trigger-words", "same"), help="show only these files")
    parser.add_argument("--parquet", type=Path, metavar="FILE", help="write a Parquet file (needs pyarrow)")
    parser.add_argument("--index", type=Path, metavar="FILE", help="where what was found is remembered")
    parser.add_argument("--no-index", action="store_true", help="read every file, and remember nothing")
    parser.add_argument("--quiet", action="store_true", help="hide the progress counter")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command."""
    _refuse(options)
    if options.measure:
        require("scan --measure", "numpy")
    if options.model is not None:
        read_model(options.model)
    if options.parquet is not None:
        require("scan --parquet", "pyarrow")
    found = find_library(options.folder)
    question = Question(options.model, options.measure, options.jobs, options.cluster or "")
    codes: list[int] = []

    def named() -> Iterator[ScanRow]:
        index = _index(options, err)
        try:
            for row in _wanted(chain(found.problems, library_rows(found, question, index)), options):
                codes.append(row_code(row))
                yield row._replace(file=_below(row.file, options))
        finally:
            if index is not None:
                index.close()

    progress = not options.quiet and err.isatty()
    total = len(found.problems) + len(found.files)
    rows = with_progress(named(), total, err) if progress else named()
    if options.parquet is not None:
        write_parquet(options.parquet, rows)
    else:
        write_scan(out, rows, options.form)
    return gravest(codes)


def _refuse(options: argparse.Namespace) -> None:
    """Commands that make no sense."""
    folder = options.folder
    if isinstance(folder, Path) and not folder.is_dir():
        what = "is a file; 'lora-patchbay inspect' says what it is" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {what}.")
    if not isinstance(folder, Path) and (options.measure or options.only == "same"):
        what = "--measure" if options.measure else "--only same"
        raise UsageError(f"{what} reads the tensors of every file: scan a folder of this machine with it.")
    if options.measure and options.model is None:
        raise UsageError("--measure says how much of a LoRA lands in a model: give --model, too.")
    if options.only == "fits" and options.model is None:
        raise UsageError("--only fits says what fits a model: give --model, too.")


def row_code(row: ScanRow) -> int:
    """Exit code of one line."""
    if row.error:
        return EXIT_UNREADABLE
    attention = EXIT_DOUBT if row.doubts else EXIT_WARNING if row.warning else EXIT_OK
    return VERDICT_CODES.get(row.verdict, EXIT_OK) or attention


def _wanted(rows: Iterator[ScanRow], options: argparse.Namespace) -> Iterator[ScanRow]:
    """What ``--only`` leaves. Files that cannot be read stay: what they are is not known."""
    only = options.only
    if only == "same":
        kept = {row.file: row for row in rows if row.kind}
        groups = same_files(kept)
        yield from (kept[file]._replace(same_as=_below(group[0], options)) for group in groups for file in group)
        return
    for row in rows:
        fits = row.verdict in ("fits", "fits in part")
        wordless = row.kind == "LoRA" and not row.trigger_words
        if not only or row.error or (fits if only == "fits" else wordless):
            yield row


def _below(file: str, options: argparse.Namespace) -> str:
    if isinstance(options.folder, Path):
        return os.path.relpath(file, options.folder)
    return file.removeprefix(f"{str(options.folder).rstrip('/')}/")


def _index(options: argparse.Namespace, err: TextIO) -> Index | None:
    if options.no_index:
        return None
    question = question_of(options.model, options.measure)
    if options.index is not None:
        return Index(options.index, question)
    try:
        return Index(default_index(), question)
    except PatchbayError as error:  # nobody asked for it: the scan goes on, only slower next time
        say(err, describe(error))
        return None


