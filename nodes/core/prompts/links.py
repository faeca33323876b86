"""Which outputs of a node a workflow reads, from the prompt that ComfyUI executes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def reads_output(prompt: Any, node_id: str | None, outputs: Collection[int]) -> bool:
    """Whether a node of ``prompt`` takes one of the ``outputs`` of the node ``node_id``, counted from 0.

    Args:
        prompt: ComfyUI's prompt: node id to ``{"class_type": ..., "inputs": {name: value or [node id, output]}}``.
    """
    for node in prompt.values() if isinstance(prompt, Mapping) else ():
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        for value in inputs.values() if isinstance(inputs, Mapping) else ():
            linked = isinstance(value, (list, tuple)) and len(value) == 2 and str(value[0]) == str(node_id)
            if linked and value[1] in outputs:
                return True
    return False
