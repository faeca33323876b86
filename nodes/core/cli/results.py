"""The command ``lora-patchbay results``: list saved measurements, show one, compare two."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, TextIO

from ..errors import PatchbayError
from ..measure.results import FILE_NAME, compare_text, find_result, list_text, read_results


def add_results_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    results = commands.add_parser(
        "results", help="list saved measurements", description="List, show or compare saved measurements."
    )
    results.add_argument("file", type=Path, metavar="FILE", help=f"{FILE_NAME}, or a folder of ComfyUI that holds it")
    results.add_argument("--compare", nargs=2, metavar=("ID", "ID"), help='compare two; "last" is the newest')
    results.add_argument("--show", metavar="ID", help="one measurement as JSON")
    results.add_argument("--json", action="store_true", help="all of them as one JSON array")
    results.set_defaults(run=run_results)


def run_results(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 2 where there is nothing to read."""
    try:
        entries = read_results(locate(options.file))
        if options.compare:
            out.write(compare_text(*(find_result(entries, name) for name in options.compare)))
        elif options.show:
            out.write(json.dumps(find_result(entries, options.show), indent=1) + "\n")
        elif options.json:
            out.write(json.dumps(entries, indent=1) + "\n")
        else:
            out.write(list_text(entries))
    except (PatchbayError, OSError) as error:
        err.write(f"{error}\n")
        return 2
    return 0


def locate(path: Path) -> Path:
    """The file itself; in a folder (ComfyUI's own, its user folder, or the pack's) the file in it."""
    places = ("", "lora-patchbay", "default/lora-patchbay", "user/default/lora-patchbay")
    found = (path / place / FILE_NAME for place in places)
    return next((candidate for candidate in found if candidate.is_file()), path) if path.is_dir() else path
