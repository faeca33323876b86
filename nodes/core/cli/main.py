"""The command line: ``lora-patchbay inspect FILE...``, ``check LORA... --model MODEL``, ``scan FOLDER``,
``strengths TEXT`` and ``results FILE``.

Exit codes: 0 every file was read and understood and fits, 1 something asks for attention (a warning, a LoRA that fits
in part), 2 a file could not be read, 3 a LoRA does not fit the model, 64 the command itself was wrong. Where several
hold, the gravest is returned: 2 before 3 before 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from ..check.inspect import inspect_file
from ..check.scan import SCAN_COLUMNS, ScanRow, find_files, scan_file
from ..errors import PatchbayError
from ..report.report import Level, Report, to_json
from ..report.text import report_text
from .bake import add_bake_commands
from .output import LAYER_COLUMNS, layer_rows, safe, say, with_progress, write_json, write_rows, write_scan
from .results import add_results_command
from .strengths import add_strengths_command

if TYPE_CHECKING:
    from ..check.model_file import ModelFile

EXIT_OK, EXIT_WARNING, EXIT_UNREADABLE, EXIT_UNFIT, EXIT_USAGE = 0, 1, 2, 3, 64
_GRAVITY = (EXIT_OK, EXIT_WARNING, EXIT_UNFIT, EXIT_UNREADABLE)
_VERDICT_CODES = {"fits": EXIT_OK, "fits in part": EXIT_WARNING, "does not fit": EXIT_UNFIT}
_CHUNK = 16
_WORTH_PARALLEL = 64
"""Below this many files a second process costs more than it saves."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Run the command line and return its exit code."""
    out, err = out or safe(sys.stdout), err or safe(sys.stderr)
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
    parser = _Parser(
        prog="lora-patchbay",
        description="What is in a LoRA or model file and what fits what, from the headers of the files.",
        epilog="Exit codes: 0 all is well, 1 something asks for attention or fits only in part, 2 a file could not be "
        "read, 3 a LoRA does not fit, 64 wrong usage.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    inspect = commands.add_parser("inspect", help="say what files are", description="Say what files are.")
    inspect.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _add_forms(inspect, "one JSON array of reports", "comma-separated values, one line a file")
    inspect.add_argument("--hashes", action="store_true", help="also compute hashes (reads the whole file)")
    inspect.add_argument("--norms", action="store_true", help="also measure the layers of a LoRA (needs torch)")
    inspect.set_defaults(run=_inspect)
    check = commands.add_parser(
        "check", help="say whether LoRAs fit a model", description="Say whether LoRAs fit the model in a file."
    )
    check.add_argument("files", nargs="+", type=Path, metavar="LORA")
    check.add_argument("--model", required=True, type=Path, help="diffusion model or checkpoint: safetensors or GGUF")
    _add_forms(check, "one JSON array of reports", "comma-separated values, one line a layer")
    _add_measure(check)
    check.set_defaults(run=_check)
    scan = commands.add_parser("scan", help="list a folder", description="List every model file below a folder.")
    scan.add_argument("folder", type=Path, metavar="FOLDER")
    scan.add_argument("--model", type=Path, help="also say whether the LoRAs fit the model in this file")
    _add_forms(scan, "one JSON object a line", "comma-separated values, one line a file")
    _add_measure(scan)
    scan.add_argument("--jobs", type=int, default=0, help="processes to use (default: one a core)")
    scan.add_argument("--quiet", action="store_true", help="no progress on the error stream")
    scan.set_defaults(run=_scan)
    add_strengths_command(commands)
    add_results_command(commands)
    add_bake_commands(commands)
    return parser


def _add_forms(parser: argparse.ArgumentParser, json_help: str, csv_help: str) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", dest="form", const="json", default="text", help=json_help)
    form.add_argument("--csv", action="store_const", dest="form", const="csv", help=csv_help)


def _add_measure(parser: argparse.ArgumentParser) -> None:
    help_text = "also read the tensors: all-zero layers, and how much of the strength lands (needs numpy)"
    parser.add_argument("--measure", action="store_true", help=help_text)


def _gravest(codes: Sequence[int]) -> int:
    return max(codes, key=_GRAVITY.index, default=EXIT_OK)


def _inspect(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    if options.form == "csv":
        rows = [scan_file(path) for path in options.files]
        write_rows(out, SCAN_COLUMNS, rows)
        return _gravest([_row_code(row) for row in rows])
    return _report_each(options, out, err, lambda path: inspect_file(path, options.hashes, options.norms))


def _check(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    model = _read_model(options.model, err)
    if model is None:
        return EXIT_UNREADABLE
    from ..check.files import check_file

    return _report_each(options, out, err, lambda path: check_file(path, model, options.measure).report)


def _read_model(path: Path, err: TextIO) -> ModelFile | None:
    from ..check.model_file import read_model_file

    try:
        return read_model_file(path)
    except (PatchbayError, OSError, ImportError) as error:
        say(err, _message(path, error))
        return None


def _report_each(options: argparse.Namespace, out: TextIO, err: TextIO, make: Any) -> int:
    """Make a report of each file and write it in the form that was asked for."""
    codes: list[int] = []
    reports: list[Report] = []
    entries: list[dict[str, Any]] = []
    for path in options.files:
        try:
            report: Report = make(path)
        except (PatchbayError, OSError, ImportError) as error:
            codes.append(EXIT_UNREADABLE)
            message = _message(path, error)
            entries.append({"error": message, "title": path.name})
            say(err, message)
            continue
        codes.append(_code(report))
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
    return _gravest(codes)


def _code(report: Report) -> int:
    if report.verdict:
        code = _VERDICT_CODES[report.verdict]
        return code or (EXIT_OK if report.level is Level.OK else EXIT_WARNING)
    return EXIT_OK if report.level is Level.OK else EXIT_WARNING


def _message(path: Path, error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{path.name}: cannot be opened: {error.strerror or error}."
    if isinstance(error, ImportError):
        return f"{path.name}: measuring needs {error.name or 'torch'}, which is not installed here."
    return str(error)


def _scan(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    if not options.folder.is_dir():
        say(err, f"{options.folder}: no such folder.")
        return EXIT_USAGE
    if options.model is not None and _read_model(options.model, err) is None:
        return EXIT_UNREADABLE
    if options.measure and options.model is None:
        say(err, "--measure says how much of a LoRA lands in a model: give --model, too.")
        return EXIT_USAGE
    files = find_files(options.folder)
    codes: list[int] = []

    def named() -> Iterator[ScanRow]:
        for row in _rows(files, options):
            codes.append(_row_code(row))
            yield row._replace(file=os.path.relpath(row.file, options.folder))

    progress = not options.quiet and err.isatty()
    write_scan(out, with_progress(named(), len(files), err) if progress else named(), options.form)
    return _gravest(codes)


def _row_code(row: ScanRow) -> int:
    if row.error:
        return EXIT_UNREADABLE
    return _VERDICT_CODES.get(row.verdict, EXIT_OK) or (EXIT_WARNING if row.warning else EXIT_OK)


def _rows(files: Sequence[Path], options: argparse.Namespace) -> Iterator[ScanRow]:
    count = options.jobs if options.jobs > 0 else os.cpu_count() or 1
    scan = partial(scan_file, model=options.model, measure=options.measure)
    if count == 1 or len(files) < _WORTH_PARALLEL:
        yield from map(scan, files)
        return
    with ProcessPoolExecutor(count) as pool:
        yield from pool.map(scan, files, chunksize=_CHUNK)


if __name__ == "__main__":
    sys.exit(main())
