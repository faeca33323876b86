"""How many sampling steps a workflow will run, read from the prompt that ComfyUI executes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def steps_after(prompt: Mapping[str, Any] | None, node_id: str | None) -> int | None:
    """The most steps that a node after ``node_id`` asks for, else the most that any node does; ``None`` if none says.

    A scheduler often takes no model and so does not come after the node that loads a LoRA: hence the second rule. A
    number of steps that comes from another node is not followed.

    Args:
        prompt: ComfyUI's prompt: node id to ``{"class_type": ..., "inputs": {...}}``.
    """
    if not isinstance(prompt, Mapping):
        return None
    after = _after(prompt, str(node_id)) if node_id is not None else set()
    found = {str(key): steps for key, node in prompt.items() if (steps := _steps(node)) is not None}
    near = [steps for key, steps in found.items() if key in after]
    return max(near or found.values(), default=None)


def _steps(node: Any) -> int | None:
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    steps = inputs.get("steps") if isinstance(inputs, Mapping) else None
    return steps if isinstance(steps, int) and not isinstance(steps, bool) and 0 < steps < 100_000 else None


def _after(prompt: Mapping[str, Any], start: str) -> set[str]:
    followers: dict[str, set[str]] = {}
    for key, node in prompt.items():
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        for value in inputs.values() if isinstance(inputs, Mapping) else ():
            if isinstance(value, (list, tuple)) and len(value) == 2:
                followers.setdefault(str(value[0]), set()).add(str(key))
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for follower in followers.get(waiting.pop(), ()):
            if follower not in reached:
                reached.add(follower)
                waiting.append(follower)
    return reached
