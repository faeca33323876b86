"""A saved workflow without subgraphs, for the tools; the work is done by the core."""

from collections.abc import Mapping
from typing import Any

from .core import core_module
from .errors import ToolError

_flat = core_module("prompts.workflow_flat")


def flattened(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow with every subgraph's nodes in the place of the node that stands for it.

    Raises:
        ToolError: a subgraph holds itself.
    """
    try:
        return _flat.flattened(workflow)
    except _flat.WorkflowError as error:
        raise ToolError(str(error)) from error
