"""What made a result: the values of its node and of everything before it, with a fingerprint.

The page compares them with the canvas (``js/lib/comfyui/run_inputs.mjs``): a result of other inputs is shown dimmed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_NODES = 400
LONGEST_TEXT = 2000
"""Characters of a value that are kept; of a longer one, only its length is."""

FILE_INPUTS = {
    "lora_name": "loras",
    "lora_b": "loras",
    "file_b": "diffusion_models",
    "unet_name": "diffusion_models",
    "model_name": "diffusion_models",
    "ckpt_name": "checkpoints",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "vae_name": "vae",
}
"""Widgets that name a file, with ComfyUI's name of the folder that it lies in."""


@dataclass(frozen=True)
class RunInputs:
    """The part of a prompt that one node's result depends on."""

    run: str
    """Id of the prompt."""
    node: str
    """Id of the node in it."""
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Id to ``{"class_type", "inputs"}`` of the node and of all before it; a link is ``[id, output]``."""
    files: dict[str, str] = field(default_factory=dict)
    """``folder/name`` of each file that is named, with its size and time of change."""
    fingerprint: str = ""
    """The same for the same values, whatever the ids of the nodes."""
    model: str = ""
    """The fingerprint of what leads to the node's input ``model``; empty where nothing does."""


def inputs_of(
    prompt: Mapping[str, Any], run: str, node: str, stamp: Callable[[str, str], str] | None = None
) -> RunInputs | None:
    """The inputs of ``node`` in ``prompt``.

    Args:
        prompt: ComfyUI's API format: id to ``{"class_type", "inputs"}``.
        run: Id of the prompt.
        stamp: Size and time of a file, from its folder's name and its own; empty for one that is not there.

    Returns:
        ``None`` for a node that is not in the prompt: one that another node made while running.
    """
    if node not in prompt:
        return None
    kept = {each: _plain_node(prompt[each]) for each in _and_before(prompt, node)}
    files = dict(sorted(_files(kept, stamp))) if stamp else {}
    model = _link_fingerprint(kept, files, kept[node]["inputs"].get("model"))
    return RunInputs(run, node, kept, files, _fingerprint(_tree(kept, node, {}), files), model)


def inputs_json(inputs: RunInputs) -> dict[str, Any]:
    """``js/types/report.d.ts``: ``RunInputs``."""
    return {name: getattr(inputs, name) for name in RunInputs.__dataclass_fields__}


def _fingerprint(*values: Any) -> str:
    told = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.blake2b(told.encode(), digest_size=12).hexdigest()


def _link_fingerprint(nodes: Mapping[str, dict[str, Any]], files: Mapping[str, str], link: Any) -> str:
    """The fingerprint of one output with all that it depends on; empty where the value is no link."""
    if not _is_link(link) or link[0] not in nodes:
        return ""
    before = {each: nodes[each] for each in _and_before(nodes, link[0])}
    named = dict(sorted(_files(before, lambda folder, name: files.get(f"{folder}/{name}", ""))))
    return _fingerprint(_tree(before, link[0], {}), link[1], named)


def _and_before(prompt: Mapping[str, Any], node: str) -> list[str]:
    """The node and all that it depends on, nearest first."""
    found = [node]
    for each in found:
        for value in prompt[each].get("inputs", {}).values():
            if _is_link(value) and value[0] in prompt and value[0] not in found and len(found) < MOST_NODES:
                found.append(value[0])
    return found


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _plain_node(node: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: _short(value) for name, value in node.get("inputs", {}).items()}
    return {"class_type": str(node.get("class_type", "")), "inputs": values}


def _short(value: Any) -> Any:
    """A value as it is, or only its length where it is long: a picture or a mask that a widget holds."""
    if value is None or isinstance(value, (bool, int, float)) or _is_link(value):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return value if len(text) <= LONGEST_TEXT else {"length": len(text)}


def _files(nodes: Mapping[str, dict[str, Any]], stamp: Callable[[str, str], str]) -> Iterator[tuple[str, str]]:
    for node in nodes.values():
        for name, value in node["inputs"].items():
            folder = FILE_INPUTS.get(name)
            found = stamp(folder, value) if folder and isinstance(value, str) else ""
            if found:
                yield f"{folder}/{value}", found


def _tree(nodes: Mapping[str, dict[str, Any]], node: str, seen: dict[str, int]) -> Any:
    """A node with those before it in its place, so that ids count for nothing; one met again is its number."""
    if node in seen:
        return seen[node]
    seen[node] = len(seen)
    made: list[Any] = [nodes[node]["class_type"]]
    for name, value in sorted(nodes[node]["inputs"].items()):
        linked = _is_link(value) and value[0] in nodes
        made.append([name, _tree(nodes, value[0], seen) if linked else value, value[1] if linked else None])
    return made
