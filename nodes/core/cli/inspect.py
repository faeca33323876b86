"""The command ``lora-patchbay inspect``: what files are."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from ..check.inspect import inspect_file
from ..check.scan import SCAN_COLUMNS, scan_file
from ..report.report import Report
from .exits import UsageError, gravest, require
from .output import write_rows
from .places import Place, here, place, say_traffic
from .reports import add_forms, report_each
from .scan import row_code


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser("inspect", help="say what files are", description="Say what files are.")
    parser.add_argument("files", nargs="+", type=place, metavar="FILE")
    add_forms(parser, "one JSON array of reports", "comma-separated values, one line a file")
    parser.add_argument("--hashes", action="store_true", help="also compute hashes (reads the whole file)")
    parser.add_argument(
        "--norms", action="store_true", help="also measure a LoRA's layers and the ranks they need (needs torch)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command."""
    if options.norms:
        require("inspect --norms", "torch", "safetensors")
    if options.form != "csv":
        return report_each(options, out, err, partial(_report, options, err))
    if options.hashes or options.norms:
        raise UsageError("--csv has no column for --hashes and --norms; use --json with them.")
    rows = [scan_file(path) for path in options.files]
    write_rows(out, SCAN_COLUMNS, rows)
    return gravest([row_code(row) for row in rows])


def _report(options: argparse.Namespace, err: TextIO, file: Place) -> Report:
    if options.hashes or options.norms:
        with here(file, err) as path:
            report = inspect_file(path, options.hashes, options.norms)
            return _with_ranks(report, path) if options.norms and report.lora is not None else report
    report = inspect_file(file)
    say_traffic(file, err)
    return report


def _with_ranks(report: Report, path: Path) -> Report:
    from ..compare.rank_curves import with_ranks
    from ..files.header import read_header

    return with_ranks(report, read_header(path))
