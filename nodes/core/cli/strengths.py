"""The command ``lora-patchbay strengths``: block strengths from and to other programs' formats, and the presets.

Exit codes: 0 everything was carried over, 1 something could not be, 2 the text is not what it should be.
"""

from __future__ import annotations

import argparse
import io
import sys
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import PatchbayError
from .exits import EXIT_OK, EXIT_WARNING
from .output import say, write_json

# The other commands start faster without the formats: they are imported where they are used.
if TYPE_CHECKING:
    from ..strengths.formats import Conversion

_LINES = ("lbw.hako.", "lbw.inspire.", "lbw.remerger.")
"""Formats whose files hold one preset a line."""


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "strengths",
        help="convert block strengths",
        description="Block strengths from or to another program's format. Without --from and --to: check the text.",
    )
    parser.add_argument("text", nargs="?", default="-", metavar="TEXT", help="the text, or - for standard input")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--from", dest="source", metavar="FORMAT", help="read this format, write the text form")
    way.add_argument("--to", dest="target", metavar="FORMAT", help="read the text form, write this format")
    way.add_argument("--formats", action="store_true", help="list the formats")
    way.add_argument("--presets", action="store_true", help="list the shipped presets with their measured figures")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command."""
    if options.formats:
        return _list_formats(options.json, out)
    if options.presets:
        return _list_presets(options.json, out)
    text = _standard_input() if options.text == "-" else options.text
    found = _convert(text, options.source, options.target)
    if options.json:
        write_json(out, [{"text": c.text, "lost": list(c.lost), "notes": list(c.notes)} for c in found])
    else:
        for conversion in found:
            say(out, conversion.text)
            for line in conversion.lost:
                say(err, f"not carried over: {line}")
    return EXIT_WARNING if any(conversion.lost for conversion in found) else EXIT_OK


def _standard_input() -> str:
    if sys.stdin is None:  # closed by the caller
        raise PatchbayError("no text: give it as an argument, or on the standard input.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read(1_000_000)


def _convert(text: str, source: str | None, target: str | None) -> list[Conversion]:
    from ..strengths.formats import Conversion, export_strengths, find_format, import_strengths
    from ..strengths.text import format_block_strengths, parse_block_strengths

    if target is not None:
        return [export_strengths(text, target)]
    if source is None:
        return [Conversion(format_block_strengths(parse_block_strengths(text)))]
    chosen = find_format(source)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith(("#", "@"))]
    if not chosen.id.startswith(_LINES) or len(lines) < 2:
        return [import_strengths(text, source)]
    return [_named(line, import_strengths(line, source)) for line in lines]


def _named(line: str, conversion: Conversion) -> Conversion:
    from ..strengths.formats import Conversion

    name = line.rpartition(":")[0].strip()
    return Conversion(f"# {name}\n{conversion.text}" if name else conversion.text, conversion.lost, conversion.notes)


def _list_formats(as_json: bool, out: TextIO) -> int:
    from ..strengths.formats import strength_formats

    formats = strength_formats().values()
    if as_json:
        write_json(out, [{"id": f.id, "label": f.label, "note": f.note, "example": f.example} for f in formats])
        return 0
    width = max(len(item.id) for item in formats)
    for item in formats:
        say(out, f"{item.id.ljust(width)}  {item.label}: {item.example}")
    return 0


def _list_presets(as_json: bool, out: TextIO) -> int:
    from ..strengths.presets import SHIPPED

    if as_json:
        write_json(out, [preset.to_json() for preset in SHIPPED])
        return 0
    for preset in SHIPPED:
        say(out, f"{preset.name}: {preset.blocks}")
        say(out, f"    {preset.description['en']}")
        for figure in preset.measured:
            shares = f"energy {figure['energy']:g}, effect {figure['effect']:g}"
            say(out, f"    {shares} ({figure['lora']} on {figure['model']}: {figure['what']})")
    return 0
