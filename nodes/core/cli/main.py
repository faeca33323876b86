"""The command line ``lora-patchbay``: reads the arguments, runs the command, catches what it raises.

A command is a module of this folder with ``add_command`` and ``run``, named in ``COMMANDS``. Exit codes are in
``exits``; docs/command_line.md explains them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn, TextIO, cast

from .. import __version__
from ..errors import PatchbayError
from .exits import EXIT_INTERRUPTED, EXIT_OK, EXIT_UNREADABLE, EXIT_USAGE, UsageError, describe
from .output import Messages, say, writable

COMMANDS = {
    "inspect": ".inspect", "check": ".check", "scan": ".scan", "strengths": ".strengths", "results": ".results",
    "bake": ".bake", "resize": ".resize", "merge": ".merge", "remap": ".remap", "convert": ".convert",
    "compare": ".workbench.compare", "verify": ".workbench.verify", "extract": ".workbench.extract",
    "grid": ".servers.grid", "sweep": ".servers.sweep",
}  # fmt: skip
"""The module of each command, in the order of the help."""


_PROGRAM = "lora-patchbay"


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_formatter, **options)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    """As wide as the terminal. argparse makes one for each option, and would load ``shutil`` to ask for the width."""
    return argparse.HelpFormatter(prog, width=_columns() - 2)


def _columns() -> int:
    with suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with suppress(OSError):  # the output is no terminal
        return os.get_terminal_size(1).columns or 80
    return 80


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Run the command line and return its exit code."""
    own = out is None
    stream = writable(sys.stdout) if out is None else out
    messages = cast("TextIO", Messages(err or sys.stderr))
    try:
        code = _run(arguments, stream, messages)
        stream.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe went away, which is no error of ours
        return _drop(own, EXIT_OK)
    except OSError as error:
        lost = error.filename is None  # no file is named: it was the output stream
        say(messages, f"the output cannot be written: {error.strerror or error}." if lost else describe(error))
        return _drop(own and lost, EXIT_UNREADABLE)
    except KeyboardInterrupt:
        return _drop(own, EXIT_INTERRUPTED)


def _run(arguments: Sequence[str] | None, out: TextIO, err: TextIO) -> int:
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        known = bool(words) and words[0] in COMMANDS
        options = _parser_of(words[0]).parse_args(words[1:]) if known else parser().parse_args(words)
        return int(options.run(options, out, err))
    except SystemExit as stop:
        return int(stop.code or 0)
    except PatchbayError as error:
        say(err, describe(error))
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_UNREADABLE


def _drop(stdout: bool, code: int) -> int:
    """Send what is still buffered nowhere: Python would try to write it again while it ends."""
    if stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code


class _OneCommand:
    """What a command adds itself to where it alone is asked for."""

    parser: argparse.ArgumentParser

    def add_parser(self, name: str, help: str = "", **options: Any) -> argparse.ArgumentParser:
        """The parser of the command."""
        self.parser = _Parser(prog=f"{_PROGRAM} {name}", **options)
        return self.parser


def _parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one command; what the others need is not loaded."""
    alone = _OneCommand()
    importlib.import_module(COMMANDS[command], __package__).add_command(alone)
    return alone.parser


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    made = _Parser(
        prog=_PROGRAM,
        description="Say what is in a LoRA or model file and whether they fit, from the headers of the files.",
        epilog="Exit codes: 0 all is well, 1 something asks for attention or fits only in part, 2 a file could not be "
        "read or written, 3 a LoRA does not fit, 4 a LoRA fits but not without doubt, 64 wrong usage, 130 interrupted.",
    )
    made.add_argument("--version", action="version", version=f"lora-patchbay {__version__}")
    commands = made.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for module in COMMANDS.values():
        importlib.import_module(module, __package__).add_command(commands)
    return made


if __name__ == "__main__":
    sys.exit(main())
