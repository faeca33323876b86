"""What ``inspect`` and ``check`` share: a report of each file, as text, JSON or comma-separated values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TextIO

from ..errors import PatchbayError
from ..report.report import Level, Report, to_json
from ..report.text import report_text
from .exits import EXIT_DOUBT, EXIT_OK, EXIT_UNFIT, EXIT_UNREADABLE, EXIT_WARNING, describe, gravest
from .output import LAYER_COLUMNS, layer_rows, say, write_json, write_rows
from .places import Place

VERDICT_CODES = {"fits": EXIT_OK, "fits in part": EXIT_WARNING, "does not fit": EXIT_UNFIT}


def add_forms(parser: argparse.ArgumentParser, json_help: str, csv_help: str) -> None:
    """Add ``--json`` and ``--csv``."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="json", default="text", help=json_help)
    form.add_argument("--csv", action="store_const", dest="form", const="csv", help=csv_help)


def add_measure(parser: argparse.ArgumentParser) -> None:
    """Add ``--measure``."""
    help_text = "also read the tensors: all-zero layers, and how much of the strength lands (needs numpy)"
    parser.add_argument("--measure", action="store_true", help=help_text)


def report_each(options: argparse.Namespace, out: TextIO, err: TextIO, make: Callable[[Place], Report]) -> int:
    """Make a report of each file and write it in the form that was asked for."""
    codes: list[int] = []
    reports: list[Report] = []
    entries: list[dict[str, Any]] = []
    for path in options.files:
        try:
            report = make(path)
        except (PatchbayError, OSError) as error:
            codes.append(EXIT_UNREADABLE)
            message = describe(error, path)
            entries.append({"error": message, "title": path.name})
            say(err, message)
            continue
        codes.append(report_code(report))
        if options.form == "json":
            entries.append(to_json(report))
        elif options.form == "csv":
            reports.append(report)
        else:
            say(out, "\n" * (len(codes) > 1) + report_text(report), end="")
    if options.form == "json":
        write_json(out, entries)
    elif options.form == "csv":
        write_rows(out, LAYER_COLUMNS, layer_rows(reports))
    return gravest(codes)


def report_code(report: Report) -> int:
    """Exit code of a file that could be read."""
    if report.verdict:  # text-encoder layers wait for a CLIP, which no file of a model has: the file fits all the same
        return VERDICT_CODES[report.verdict] or (EXIT_DOUBT if report.doubts else EXIT_OK)
    return EXIT_OK if report.level is Level.OK else EXIT_WARNING
