"""The command ``lora-patchbay grid``: a workflow at every combination of values, through running ComfyUI servers."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ...errors import PatchbayError
from ...grid.axes import Axis
from ...grid.plan import AUTO, GridPlan, Index, Reference, plan_grid, read_reference
from ...report.text import clean
from ..exits import EXIT_OK, EXIT_WARNING, UsageError, require
from ..output import say, write_json
from .cells import (
    GridWorkflow,
    cell_key,
    choices_of,
    cut_to_output,
    find_node,
    image_output,
    read_axis,
    read_workflow,
    saved_data,
)
from .server import Outcome, Server, ServerFacts, ServerGone
from .spread import Spread, Work, run_cells

if TYPE_CHECKING:
    from ...grid.report import GridResult
    from .results import GridFolder

DEFAULT_SERVER = "http://127.0.0.1:8188"
TIMEOUT_S = 1800.0


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "grid",
        help="a sheet of pictures from a running ComfyUI",
        description="Run a workflow at every combination of values through a running ComfyUI, or several that share "
        "the pictures, and write a labelled sheet that opens as the workflow.",
    )
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW", help="as ComfyUI saves it, or in API format")
    parser.add_argument(
        "--axis", action="append", required=True, metavar="NODE.INPUT=V1,V2",
        help="values of an input; NODE is an id, a title or a type; ' | ' separates values that hold commas; style-* "
        "is every choice of that name",
    )  # fmt: skip
    parser.add_argument("-o", "--output-folder", type=Path, required=True, metavar="DIR", help="where everything goes")
    parser.add_argument("--servers", default=DEFAULT_SERVER, metavar="URL,URL", help=f"default: {DEFAULT_SERVER}")
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="dask.distributed scheduler with a worker named as each server"
    )
    parser.add_argument("--output", default="", metavar="NODE", help="the node whose picture is taken")
    parser.add_argument("--reference", default="first", metavar="CELL", help="NODE.INPUT=V, first (default) or none")
    parser.add_argument("--rows", default=AUTO, metavar="NODE.INPUT", help="what runs down the sheet")
    parser.add_argument("--columns", default=AUTO, metavar="NODE.INPUT", help="what runs across the sheet")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="seconds for one picture")
    parser.add_argument("--no-floor", action="store_true", help="do not run a cell twice on every server")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="hide the progress counter")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where a cell failed, a server is gone, or servers do not agree."""
    require("grid", "torch", "numpy", "PIL")
    from ...grid.report import grid_text
    from .results import GridFolder, grid_report, judge_servers, report_json

    client = uuid.uuid4().hex
    servers, facts, gone = _reach(options.servers, client)
    workflow, plan = _plan(options, servers)
    reference, asked = _reference(options, plan)
    folder = GridFolder(options.output_folder)
    try:
        floors = {} if options.no_floor else _floors(workflow, plan, servers, options.timeout)
        result, made, spread = _make(options, workflow, plan, servers, folder, client, err)
    except (KeyboardInterrupt, PatchbayError):
        for server in servers:
            server.stop()
        raise
    reports, notes = judge_servers(facts, floors, made, {**gone, **spread.gone})
    title = clean(options.workflow.stem, 120)
    report = grid_report(plan, result, title, reference, asked, reports, notes)
    if not result.pictures:
        raise PatchbayError(f"no picture was made: {next((cell.note for cell in report.cells if cell.note), '')}")
    sheets = folder.write(plan, report, result, reports, workflow.prompt, saved_data(options.workflow))
    if options.json:
        write_json(out, report_json(report, reports))
    else:
        say(out, grid_text(report))
        for server in reports:
            if not server.comfyui:  # it was gone from the beginning, and the report says so
                continue
            says = [
                server.comfyui and f"ComfyUI {server.comfyui}",
                server.torch and f"torch {server.torch}",
                server.device,
            ]
            say(out, clean(f"{server.address}: {', '.join(filter(None, says))}: {server.made} pictures", 300))
        say(out, f"Written: {', '.join(map(str, sheets))}")
    return EXIT_WARNING if notes or any(cell.note for cell in report.cells) else EXIT_OK


def _reach(text: str, client: str) -> tuple[list[Server], dict[str, ServerFacts], dict[str, str]]:
    """The servers that answer, with what they say of themselves, and why the others do not."""
    addresses = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    if not addresses:
        raise UsageError("--servers: expected one address or more, such as http://127.0.0.1:8188.")
    servers: list[Server] = []
    facts: dict[str, ServerFacts] = {}
    gone: dict[str, str] = {}
    for address in addresses:
        server = Server(address, client)
        try:
            facts[server.address] = server.facts()
            servers.append(server)
        except ServerGone as error:
            facts[server.address] = ServerFacts(server.address)
            gone[server.address] = str(error)
    if not servers:
        raise PatchbayError("; ".join(gone.values()))
    return servers, facts, gone


def _plan(options: argparse.Namespace, servers: Sequence[Server]) -> tuple[GridWorkflow, GridPlan]:
    known = functools.cache(servers[0].object_info)
    workflow = cut_to_output(
        read_workflow(options.workflow, known), options.output, lambda kind: image_output(known(), kind)
    )
    axes = [read_axis(text, workflow, lambda kind, field: choices_of(known(), kind, field)) for text in options.axis]
    fields = [axis.name.partition(".")[2] for axis in axes]
    axes = [
        dataclasses.replace(axis, title=field if fields.count(field) == 1 else "")
        for axis, field in zip(axes, fields, strict=True)
    ]
    twice = [axis.name for number, axis in enumerate(axes) if axis.name in [each.name for each in axes[:number]]]
    if twice:
        raise UsageError(f"--axis {twice[0]}: it is given twice; write all its values into one.")
    return workflow, plan_grid(axes, *(_axis_name(name, workflow, axes) for name in (options.rows, options.columns)))


def _axis_name(text: str, workflow: GridWorkflow, axes: Sequence[Axis]) -> str:
    """``Title.input`` as the axis is called: ``4.input``."""
    node, dot, field = text.rpartition(".")
    if text == AUTO or not dot or text in [axis.name for axis in axes]:
        return text
    return f"{find_node(workflow.prompt, node)}.{field}"


def _reference(options: argparse.Namespace, plan: GridPlan) -> tuple[Reference | None, str]:
    asked = options.reference.strip()
    if asked in ("", "none"):
        return None, ""
    typed = asked
    for text, axis in zip(options.axis, plan.axes, strict=True):  # axes may be named as they were typed
        typed = typed.replace(f"{text.partition('=')[0].strip()}=", f"{axis.name}=")
    return read_reference(typed, plan.axes), asked


def _floors(
    workflow: GridWorkflow, plan: GridPlan, servers: Sequence[Server], timeout: float
) -> dict[str, list[Outcome]]:
    """The first cell, twice on every server: it forgets what it made in between."""
    prompt = workflow.cell(plan, plan.cells[0])
    found: dict[str, list[Outcome]] = {}
    for server in servers:
        first = server.make(prompt, workflow.output, timeout)
        found[server.address] = [first]
        if first.picture is not None:
            server.forget()
            found[server.address].append(server.make(prompt, workflow.output, timeout))
    return found


def _make(
    options: argparse.Namespace,
    workflow: GridWorkflow,
    plan: GridPlan,
    servers: Sequence[Server],
    folder: GridFolder,
    client: str,
    err: TextIO,
) -> tuple[GridResult, dict[str, int], Spread]:
    """All cells: those that are in the folder, and those that the servers make."""
    from ...grid.report import CellState, GridResult
    from .results import set_cell

    result, made = GridResult(), dict[str, int]()
    prompts = {index: workflow.cell(plan, index) for index in plan.cells}
    places: dict[str, list[Index]] = {}
    for index, prompt in prompts.items():
        result.keys[index] = cell_key(prompt, workflow.output)
        places.setdefault(result.keys[index], []).append(index)
    for key, indices in places.items():
        kept = folder.picture(key)
        for index in indices if kept is not None else ():
            assert kept is not None
            set_cell(result, index, kept, CellState.KEPT, None)
    missing = {key: prompts[indices[0]] for key, indices in places.items() if indices[0] not in result.pictures}
    progress = not options.quiet and err.isatty()

    def arrived(key: str, outcome: Outcome) -> None:
        problem, picture = outcome.problem, None
        if outcome.picture is not None:
            try:
                picture = folder.keep(key, outcome.picture)
                made[outcome.address] = made.get(outcome.address, 0) + 1
            except PatchbayError as error:
                problem = str(error)
        for index in places[key]:
            if picture is not None:
                set_cell(result, index, picture, CellState.MADE, outcome)
            else:
                result.states[index], result.notes[index] = CellState.FAILED, problem
        if progress:
            say(err, f"\r{len(result.states)} of {len(plan.cells)} pictures", end="")
            err.flush()

    work = Work(missing, workflow.output, options.timeout, client)
    spread = (
        run_cells([each.address for each in servers], work, arrived, options.cluster or "") if missing else Spread({})
    )
    if progress:
        say(err, "")
    return result, made, spread
