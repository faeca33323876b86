"""The command ``lora-patchbay grid``: a workflow at every combination of values, through running ComfyUI servers."""

from __future__ import annotations

import argparse
import functools
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ...errors import PatchbayError
from ...grid.axes import Axis
from ...grid.plan import AUTO, GridPlan, Index, Reference, plan_grid, read_reference
from ...report.text import clean
from ..exits import EXIT_OK, EXIT_WARNING, require
from ..output import say, write_json
from .cells import (
    GridWorkflow,
    cell_key,
    choices_of,
    cut_to_output,
    find_node,
    image_output,
    read_axes,
    read_workflow,
    saved_data,
)
from .reach import add_server_options, reach, run_twice
from .server import Outcome, Server
from .spread import Work, servers_at_work

if TYPE_CHECKING:
    from ...grid.report import GridResult
    from .results import GridFolder


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
    add_server_options(parser)
    parser.add_argument("--output", default="", metavar="NODE", help="the node whose picture is taken")
    parser.add_argument("--reference", default="first", metavar="CELL", help="NODE.INPUT=V, first (default) or none")
    parser.add_argument("--rows", default=AUTO, metavar="NODE.INPUT", help="what runs down the sheet")
    parser.add_argument("--columns", default=AUTO, metavar="NODE.INPUT", help="what runs across the sheet")
    parser.add_argument("--no-floor", action="store_true", help="do not run a cell twice on every server")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where a cell failed, a server is gone, or servers do not agree."""
    require("grid", "torch", "numpy", "PIL")
    from ...grid.report import grid_text
    from .results import GridFolder, grid_report, judge_servers, report_json, server_lines

    client = uuid.uuid4().hex
    servers, facts, gone = reach(options.servers, client)
    workflow, plan = _plan(options, servers)
    reference, asked = _reference(options, plan)
    folder = GridFolder(options.output_folder)
    try:
        first = workflow.cell(plan, plan.cells[0])
        floors = {} if options.no_floor else run_twice(first, workflow.output, servers, options.timeout)
        result, made, left = _make(options, workflow, plan, servers, folder, client, err)
    except (KeyboardInterrupt, PatchbayError):
        for server in servers:
            server.stop()
        raise
    reports, notes = judge_servers(facts, floors, made, {**gone, **left})
    title = clean(options.workflow.stem, 120)
    report = grid_report(plan, result, title, reference, asked, reports, notes)
    if not result.pictures:
        raise PatchbayError(f"no picture was made: {next((cell.note for cell in report.cells if cell.note), '')}")
    sheets = folder.write(plan, report, result, reports, workflow.prompt, saved_data(options.workflow))
    if options.json:
        write_json(out, report_json(report, reports))
    else:
        say(out, grid_text(report))
        for line in server_lines(reports):
            say(out, line)
        say(out, f"Written: {', '.join(map(str, sheets))}")
    return EXIT_WARNING if notes or any(cell.note for cell in report.cells) else EXIT_OK


def _plan(options: argparse.Namespace, servers: Sequence[Server]) -> tuple[GridWorkflow, GridPlan]:
    known = functools.cache(servers[0].object_info)
    workflow = cut_to_output(
        read_workflow(options.workflow, known), options.output, lambda kind: image_output(known(), kind)
    )
    axes = read_axes(options.axis, workflow, lambda kind, field: choices_of(known(), kind, field))
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


def _make(
    options: argparse.Namespace,
    workflow: GridWorkflow,
    plan: GridPlan,
    servers: Sequence[Server],
    folder: GridFolder,
    client: str,
    err: TextIO,
) -> tuple[GridResult, dict[str, int], dict[str, str]]:
    """All cells, those that are in the folder and those that the servers make; who made how many; why which is gone."""
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

    gone: dict[str, str] = {}
    if missing:
        with servers_at_work([each.address for each in servers], options.cluster or "") as runner:
            runner.run(Work(missing, workflow.output, options.timeout, client), arrived)
        gone = runner.gone
    if progress:
        say(err, "")
    return result, made, gone
