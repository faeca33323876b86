"""The command ``lora-patchbay results``: list saved measurements, show one, compare two."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, TextIO

from ..errors import PatchbayError
from ..measure.results import FILE_NAME, compare_text, find_result, list_text, read_saved
from ..report.text import count_text
from .exits import EXIT_OK, EXIT_WARNING
from .output import say


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    results = commands.add_parser(
        "results", help="list saved measurements", description="List, show or compare saved measurements."
    )
    results.add_argument("file", type=Path, metavar="FILE", help=f"{FILE_NAME}, or a folder of ComfyUI that holds it")
    results.add_argument("--compare", nargs=2, metavar=("ID", "ID"), help='compare two; "last" is the newest')
    results.add_argument("--show", metavar="ID", help="one measurement as JSON")
    results.add_argument("--json", action="store_true", help="all of them as one JSON array")
    results.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where lines could not be read, 2 where there is nothing to read."""
    path = locate(options.file)
    saved = read_saved(path)
    if not saved.entries and saved.unreadable:
        raise PatchbayError(
            f"{path}: holds no saved measurement. Expected {FILE_NAME}, as Measure Report and Benchmark (Patchbay) "
            "write it into the folder user/default/lora-patchbay of ComfyUI."
        )
    if saved.unreadable:
        say(err, f"{path}: {count_text(saved.unreadable, 'line')} cannot be read and left out, damaged or newer.")
    if options.compare:
        say(out, compare_text(*(find_result(saved.entries, name) for name in options.compare)), end="")
    elif options.show:
        say(out, json.dumps(find_result(saved.entries, options.show), indent=1))
    elif options.json:
        say(out, json.dumps(saved.entries, indent=1))
    else:
        say(out, list_text(saved.entries), end="")
    return EXIT_WARNING if saved.unreadable else EXIT_OK


def locate(path: Path) -> Path:
    """The file itself; in a folder (ComfyUI's own, its user folder, or the pack's) the file in it."""
    places = ("", "lora-patchbay", "default/lora-patchbay", "user/default/lora-patchbay")
    found = (path / place / FILE_NAME for place in places)
    return next((candidate for candidate in found if candidate.is_file()), path) if path.is_dir() else path
