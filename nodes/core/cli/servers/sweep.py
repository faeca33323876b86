"""The command ``lora-patchbay sweep``: which blocks of a LoRA make the picture, through running ComfyUI servers."""

from __future__ import annotations

import argparse
import functools
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ...errors import PatchbayError
from ..exits import EXIT_OK, EXIT_WARNING, UsageError, require
from ..output import say, write_json
from .cells import choices_of, image_output, read_workflow, saved_data
from .reach import add_server_options, reach
from .server import Server
from .sweep_task import SweepTask, read_task

if TYPE_CHECKING:
    from ...report.report import Report

_MODES = ("knock-out", "solo", "search")
_UNITS = ("block", "block and stream", "block and part", "kind of block", "own groups")


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "sweep",
        help="which blocks of a LoRA make the picture",
        description="Leave blocks of a LoRA out in a workflow, have the pictures made by a running ComfyUI, or several "
        "that share them, and say which blocks matter: what the node Block Sweep does, on any number of machines.",
    )
    parser.add_argument(
        "workflow", type=Path, metavar="WORKFLOW",
        help="with a node Block Sweep, or with Apply LoRA and a sampler; as ComfyUI saves it, or in API format",
    )  # fmt: skip
    parser.add_argument("--node", default="", metavar="NODE", help="the node, where there are several: id or title")
    parser.add_argument("--mode", choices=_MODES, help="default: that of the node, or knock-out")
    parser.add_argument("--units", choices=_UNITS, help="what is left out together; default: as in the node, or block")
    parser.add_argument("--own-groups", default="", metavar="TEXT", help="for own groups: 'a: double_blocks.*; other'")
    parser.add_argument(
        "--distance", type=float, metavar="SHARE", help="of the effect that may be missed; default: 0.1"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="noises for each prompt; default: as in the node, or 2")
    parser.add_argument(
        "--axis", action="append", default=[], metavar="NODE.INPUT=V1,V2",
        help="further scenes: values of an input, such as prompts; ' | ' separates values that hold commas",
    )  # fmt: skip
    parser.add_argument("--output", default="", metavar="NODE", help="with Apply LoRA: the node whose picture is taken")
    add_server_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where a server is gone, or servers do not agree."""
    require("sweep", "torch", "numpy", "PIL")
    from ...sweep.report import sweep_data, sweep_report, sweep_text
    from .results import GridFolder, judge_servers, server_lines, servers_json
    from .sweep_run import run_on_servers

    if options.distance is not None and not 0 <= options.distance < 1:
        raise UsageError(f"--distance {options.distance:g}: expected a share of the LoRA's effect, 0 to below 1.")
    if options.seeds is not None and not 1 <= options.seeds <= 64:
        raise UsageError(f"--seeds {options.seeds}: expected 1 to 64.")
    client = uuid.uuid4().hex
    servers, facts, gone = reach(options.servers, client)
    task, folder = _task(options, servers), GridFolder(options.output_folder)
    counted = not options.quiet and err.isatty()

    def on_picture(number: int) -> None:
        if counted:
            say(err, f"\r{number} pictures", end="")
            err.flush()

    try:
        done = run_on_servers(task, servers, folder, client, options.cluster or "", options.timeout, on_picture)
    except (KeyboardInterrupt, PatchbayError):
        for server in servers:
            server.stop()
        raise
    if counted:
        say(err, "")
    reports, notes = judge_servers(facts, done.floors, done.made, {**gone, **done.gone})
    table = done.table(notes)
    report = sweep_report(table, done.title, *done.summaries())
    sheet = folder.write_sheet(done.sheet(table), task.prompt, saved_data(options.workflow))
    data = {**sweep_data(report, table), "servers": servers_json(reports), "cells": done.cells_json()}
    folder.write_report(data)
    if options.json:
        write_json(out, data)
    else:
        _print(out, report, sweep_text(table), table.blocks, [*server_lines(reports), f"Written: {sheet}"])
    return EXIT_WARNING if notes or report.level.value != "ok" else EXIT_OK


def _print(out: TextIO, report: Report, table: str, blocks: str, lines: Sequence[str]) -> None:
    from ...report.text import report_text

    say(out, f"{report_text(report)}\n{table}\n\nblocks: {blocks}\n")
    for line in lines:
        say(out, line)


def _task(options: argparse.Namespace, servers: Sequence[Server]) -> SweepTask:
    known = functools.cache(servers[0].object_info)
    return read_task(
        read_workflow(options.workflow, known),
        options,
        lambda kind: image_output(known(), kind),
        lambda kind, field: choices_of(known(), kind, field),
    )
