"""Which inputs the node that runs now was given, read from the prompt that ComfyUI executes."""

from __future__ import annotations

from typing import Any

from comfy_execution.utils import get_executing_context

from ...core.report.inputs import RunInputs, inputs_of
from .events import prompt_server
from .folders import file_stamp, model_path


def running_inputs() -> RunInputs | None:
    """The inputs of the node that runs in this thread; ``None`` outside a run or without a server."""
    context, server = get_executing_context(), prompt_server()
    queue = getattr(server, "prompt_queue", None)
    if context is None or queue is None:
        return None
    read = getattr(queue, "get_current_queue_volatile", queue.get_current_queue)
    running, _ = read()
    prompt: Any = next((item[2] for item in running if item[1] == context.prompt_id), None)
    return None if prompt is None else inputs_of(prompt, context.prompt_id, context.node_id, _stamp)


def _stamp(folder: str, name: str) -> str:
    """Size and time of a file as ComfyUI lists it; empty where there is none or no such folder."""
    path = model_path(folder, name) if "\0" not in name else None
    return file_stamp(path) if path else ""
