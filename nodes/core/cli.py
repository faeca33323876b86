"""The command line: ``lora-patchbay inspect FILE...``, ``scan FOLDER`` and ``results FILE``.

Exit codes: 0 every file was read and understood, 1 a file asks for attention (a warning), 2 a file could not be read,
64 the command itself was wrong.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, TextIO

from .errors import PatchbayError
from .inspect import inspect_file
from .measurement_cli import add_results_command
from .report import Level, Report, to_json
from .report_text import clean, report_text, size
from .scan import SCAN_COLUMNS, ScanRow, find_files, scan_file

EXIT_OK, EXIT_WARNING, EXIT_UNREADABLE, EXIT_USAGE = 0, 1, 2, 64
_CHUNK = 16
_WORTH_PARALLEL = 64
"""Below this many files a second process costs more than it saves."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Run the command line and return its exit code."""
    out, err = out or _safe(sys.stdout), err or _safe(sys.stderr)
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return int(options.run(options, out, err))
    except BrokenPipeError:  # the reader of a pipe went away, which is no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_OK
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lora-patchbay", description="What is in a LoRA or model file, from its header.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    inspect = commands.add_parser("inspect", help="say what files are", description="Say what files are.")
    inspect.add_argument("files", nargs="+", type=Path, metavar="FILE")
    inspect.add_argument("--json", action="store_true", help="one JSON array of reports instead of text")
    inspect.add_argument("--hashes", action="store_true", help="also compute hashes (reads the whole file)")
    inspect.add_argument("--norms", action="store_true", help="also measure the layers of a LoRA (needs torch)")
    inspect.set_defaults(run=_inspect)
    scan = commands.add_parser("scan", help="list a folder", description="List every model file below a folder.")
    scan.add_argument("folder", type=Path, metavar="FOLDER")
    form = scan.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="comma-separated values")
    scan.add_argument("--jobs", type=int, default=0, help="processes to use (default: one a core)")
    scan.add_argument("--quiet", action="store_true", help="no progress on the error stream")
    scan.set_defaults(run=_scan)
    add_results_command(commands)
    return parser


def _inspect(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    code = EXIT_OK
    reports: list[dict[str, Any]] = []
    for number, path in enumerate(options.files):
        try:
            report = inspect_file(path, hashes=options.hashes, tensors=options.norms)
        except (PatchbayError, OSError, ImportError) as error:
            code = EXIT_UNREADABLE
            message = _message(path, error)
            reports.append({"error": message, "title": path.name})
            _say(err, message)
            continue
        code = max(code, _code(report))
        if options.json:
            reports.append(to_json(report))
        else:
            _say(out, "\n" * bool(number) + report_text(report), end="")
    if options.json:
        json.dump(reports, out, ensure_ascii=True, indent=1)
        _say(out, "")
    return code


def _code(report: Report) -> int:
    return EXIT_OK if report.level is Level.OK else EXIT_WARNING


def _message(path: Path, error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{path.name}: cannot be opened: {error.strerror or error}."
    if isinstance(error, ImportError):
        return f"{path.name}: measuring needs {error.name or 'torch'}, which is not installed here."
    return str(error)


def _scan(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    if not options.folder.is_dir():
        _say(err, f"{options.folder}: no such folder.")
        return EXIT_USAGE
    files = find_files(options.folder)
    progress = not options.quiet and err.isatty()
    rows = _with_progress(_rows(files, options.jobs), len(files), err) if progress else _rows(files, options.jobs)
    writer = csv.writer(out, lineterminator="\n")
    if options.csv:
        writer.writerow(SCAN_COLUMNS)
    found: list[ScanRow] = []
    for row in rows:
        row = row._replace(file=os.path.relpath(row.file, options.folder))
        found.append(row)
        if options.json:
            _say(out, json.dumps(row._asdict(), ensure_ascii=True))
        elif options.csv:
            writer.writerow([_cell(value) for value in row])
    if not options.json and not options.csv:
        _table(found, out)
    if any(row.error for row in found):
        return EXIT_UNREADABLE
    return EXIT_WARNING if any(row.warning for row in found) else EXIT_OK


def _rows(files: Sequence[Path], jobs: int) -> Iterator[ScanRow]:
    count = jobs if jobs > 0 else os.cpu_count() or 1
    if count == 1 or len(files) < _WORTH_PARALLEL:
        yield from map(scan_file, files)
        return
    with ProcessPoolExecutor(count) as pool:
        yield from pool.map(scan_file, files, chunksize=_CHUNK)


def _with_progress(rows: Iterable[ScanRow], total: int, err: TextIO) -> Iterator[ScanRow]:
    for number, row in enumerate(rows, 1):
        if number % _CHUNK == 0 or number == total:
            _say(err, f"\r{number} of {total} files", end="")
            err.flush()
        yield row
    _say(err, "")


def _cell(value: object) -> object:
    """A spreadsheet would run a cell that begins like a formula."""
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _table(rows: Sequence[ScanRow], out: TextIO) -> None:
    if not rows:
        _say(out, "no model files here.")
        return
    cells = [("file", "kind", "architecture", "formats", "rank", "size")]
    for row in rows:
        what = row.architecture if not row.error else row.error
        kind = row.kind or "unreadable"
        cells.append((row.file, kind, what, row.formats, row.ranks, size(row.size_bytes)))
    widths = [min(max(len(line[i]) for line in cells), 60) for i in range(len(cells[0]))]
    for line in cells:
        shown = (clean(cell).ljust(width) for cell, width in zip(line, widths, strict=True))
        _say(out, "  ".join(shown).rstrip())


def _say(stream: TextIO, text: str, end: str = "\n") -> None:
    stream.write(text + end)


def _safe(stream: TextIO) -> TextIO:
    """File names and metadata may hold what a Windows console cannot show."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


if __name__ == "__main__":
    sys.exit(main())
