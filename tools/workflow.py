"""Saved workflows for the tools, whose errors are :class:`ToolError`; the work is done by the core."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .core import core_module
from .errors import ToolError

_saved = core_module("prompts.saved_workflow")
Json = Any
VIRTUAL, input_specs, options_of = _saved.VIRTUAL, _saved.input_specs, _saved.options_of
saved_values, type_of = _saved.saved_values, _saved.type_of


def load_workflow(path: Path) -> Json:
    """A workflow file's content.

    Raises:
        ToolError: it is none.
    """
    try:
        return _saved.load_workflow(path)
    except _saved.WorkflowError as error:
        raise ToolError(str(error)) from error


def to_api(workflow: Mapping[str, Json], object_info: Mapping[str, Json]) -> dict[str, Json]:
    """A saved workflow in API format.

    Args:
        workflow: what the frontend saves.
        object_info: what ``GET /object_info`` answers, for the order and kind of the widgets.

    Raises:
        ToolError: a node type is not known to this ComfyUI, or a subgraph holds itself.
    """
    try:
        return _saved.to_api(workflow, object_info)
    except _saved.WorkflowError as error:
        raise ToolError(str(error)) from error
