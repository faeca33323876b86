"""A workflow with axes: which inputs they change, and the prompt of every cell, cut to what its picture needs."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import PatchbayError
from ...grid.axes import Axis, AxisValue, natural_key, short_labels
from ...grid.plan import GridPlan, Index, content_key
from ...prompts.saved_workflow import to_api
from ..exits import UsageError

SAVES, SHOWS = "SaveImage", "PreviewImage"
SEEDS = ("seed", "noise_seed")
KEY_VERSION = 1

Prompt = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class GridWorkflow:
    """What is run for each cell."""

    prompt: Prompt
    """API format, only the nodes that the picture needs."""
    output: str
    """Id of the node whose picture is taken."""

    def cell(self, plan: GridPlan, index: Index) -> Prompt:
        """The prompt of a cell."""
        return with_settings(self.prompt, plan.settings(index))


def with_settings(prompt: Prompt, settings: Mapping[str, Any]) -> Prompt:
    """A prompt with other values: ``NODE.INPUT`` to what it is set to."""
    made = {name: {**node, "inputs": dict(node["inputs"])} for name, node in prompt.items()}
    for name, value in settings.items():
        node, _, field = name.partition(".")
        made[node]["inputs"][field] = value
    return made


def cell_key(prompt: Mapping[str, Any], output: str) -> str:
    """The same for the same prompt, whoever makes it."""
    nodes = {name: [node["class_type"], node["inputs"]] for name, node in prompt.items()}
    return content_key([KEY_VERSION, output, nodes])


def read_workflow(path: Path, object_info: Callable[[], Mapping[str, Any]]) -> Prompt:
    """A workflow in API format; one that the frontend saved is converted by what the server knows of its nodes.

    Raises:
        PatchbayError: it is neither, or it cannot be converted.
    """
    data = _read_json(path)
    if _is_saved(data):
        return to_api(data, object_info())
    nodes: Any = data
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
        nodes = data["prompt"]
    is_prompt = isinstance(nodes, dict) and nodes and all(_is_node(node) for node in nodes.values())
    if not is_prompt:
        raise PatchbayError(f"{path}: expected a workflow, as ComfyUI's Save or Export (API) writes it.")
    return {str(name): node for name, node in nodes.items()}


def saved_data(path: Path) -> Any:
    """The workflow as the frontend saved it; ``None`` for one in API format."""
    data = _read_json(path)
    return data if _is_saved(data) else None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PatchbayError(f"{path}: not JSON ({error}). Save the workflow again.") from error


def _is_saved(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("nodes"), list)


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def cut_to_output(prompt: Prompt, wanted: str, image_of: Callable[[str], int | None]) -> GridWorkflow:
    """Keep the node whose picture is taken and what it needs; a node that saves shows instead.

    Args:
        wanted: Its id, title or type; empty: the first one that saves or shows a picture, or the only one that decodes.
        image_of: Which output of a node type is a picture; ``None`` for one without.

    Raises:
        UsageError: there is no such node.
    """
    nodes = dict(prompt)
    output = find_node(nodes, wanted) if wanted else _output_of(nodes)
    if nodes[output]["class_type"] not in (SAVES, SHOWS):
        picture = image_of(nodes[output]["class_type"])
        if picture is not None:
            source, output = output, "patchbay_grid"
            nodes[output] = {"class_type": SHOWS, "inputs": {"images": [source, picture]}}
    cut = needed(nodes, output)
    if cut[output]["class_type"] == SAVES:
        cut[output]["class_type"] = SHOWS
        cut[output]["inputs"].pop("filename_prefix", None)
    return GridWorkflow(cut, output)


def needed(prompt: Prompt, output: str) -> Prompt:
    """A copy of a node with everything that it takes something from."""
    kept = [output]
    for name in kept:
        for value in prompt[name]["inputs"].values():
            if is_link(value) and str(value[0]) in prompt and str(value[0]) not in kept:
                kept.append(str(value[0]))
    return {name: {**prompt[name], "inputs": dict(prompt[name]["inputs"])} for name in kept}


def _output_of(prompt: Prompt) -> str:
    found = [name for name, node in prompt.items() if node["class_type"] in (SAVES, SHOWS)]
    if found:
        return min(found, key=lambda name: (prompt[name]["class_type"] != SAVES, natural_key(name)))
    decoding = [name for name, node in prompt.items() if node["class_type"].startswith("VAEDecode")]
    if len(decoding) == 1:
        return decoding[0]
    what = f"it decodes in the nodes {', '.join(decoding)}" if decoding else "it has no node that decodes"
    raise UsageError(f"the workflow neither saves nor shows a picture, and {what}; name one: --output NODE.")


def find_node(prompt: Prompt, text: str) -> str:
    """Id of the node that is meant by its id, its title or its type.

    Raises:
        UsageError: none is, or several are.
    """
    if text in prompt:
        return text
    named = [
        name for name, node in prompt.items() if text in ((node.get("_meta") or {}).get("title"), node["class_type"])
    ]
    if len(named) == 1:
        return named[0]
    if named:
        raise UsageError(f'"{text[:60]}" may mean the nodes {", ".join(named)}; use the id.')
    known = ", ".join(f"{name} ({node['class_type']})" for name, node in list(prompt.items())[:24])
    raise UsageError(f'the workflow has no node "{text[:60]}"; it has {known}.')


def read_axis(text: str, workflow: GridWorkflow, choices: Callable[[str, str], Sequence[str]]) -> Axis:
    """``NODE.INPUT=V1,V2``: values separated by commas, or by `` | `` where they hold commas themselves.

    A value with ``*`` or ``?`` is a pattern of the input's choices: ``style-*``. Epochs come in their order.

    Args:
        choices: What an input of a node type lets one choose; empty for one without choices.

    Raises:
        UsageError: there is no such node or input, or a value is of another kind.
    """
    name, equals, values = text.partition("=")
    node_name, dot, field = name.strip().rpartition(".")
    if not equals or not dot or not values.strip():
        raise UsageError(f'--axis "{text[:80]}": expected NODE.INPUT=V1,V2, for example 4.strength_model=0.5,1.')
    node = find_node(workflow.prompt, node_name)
    inputs = workflow.prompt[node]["inputs"]
    kind = workflow.prompt[node]["class_type"]
    if field not in inputs:
        known = ", ".join(key for key, value in inputs.items() if not is_link(value))
        raise UsageError(f'--axis "{text[:80]}": node {node} ({kind}) has no input "{field[:40]}"; it has {known}.')
    if is_link(inputs[field]):
        raise UsageError(f'--axis "{text[:80]}": {field} of node {node} comes from node {inputs[field][0]}; name that.')
    words = [word.strip() for word in values.split("|" if "|" in values else ",")]
    found: dict[Any, None] = {}
    for word in words:
        if any(sign in word for sign in "*?") and (known := choices(kind, field)):
            found.update(dict.fromkeys(_matching(word, known, text)))
        else:
            found[_as_kind(word, inputs[field], text)] = None
    made = list(found)
    texts = [value for value in made if isinstance(value, str)]
    labels = short_labels(texts) if len(texts) == len(made) and choices(kind, field) else [_label(x) for x in made]
    return Axis(
        f"{node}.{field}", tuple(AxisValue(value, label) for value, label in zip(made, labels, strict=True)),
        field in SEEDS,
    )  # fmt: skip


def read_axes(texts: Sequence[str], workflow: GridWorkflow, choices: Callable[[str, str], Sequence[str]]) -> list[Axis]:
    """All axes of a command, called by their inputs as far as those differ.

    Raises:
        UsageError: one is none, or an input is named twice.
    """
    axes = [read_axis(text, workflow, choices) for text in texts]
    names = [axis.name for axis in axes]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise UsageError(f"--axis {twice[0]}: it is given twice; write all its values into one.")
    fields = [name.partition(".")[2] for name in names]
    return [
        replace(axis, title=field if fields.count(field) == 1 else "") for axis, field in zip(axes, fields, strict=True)
    ]


def _matching(pattern: str, known: Sequence[str], text: str) -> list[str]:
    plain = pattern.replace("\\", "/")
    found = [name for name in known if fnmatch.fnmatchcase(name.replace("\\", "/"), plain)]
    if not found:
        raise UsageError(f'--axis "{text[:80]}": no choice of this input is like "{pattern[:60]}".')
    return sorted(found, key=natural_key)


def _as_kind(word: str, now: Any, text: str) -> str | float | int | bool:
    """A value of the kind that the input has now."""
    try:
        if isinstance(now, bool):
            return {"true": True, "false": False}[word.lower()]
        if isinstance(now, int):
            return int(word) if word.lstrip("-+").isdigit() else float(word)
        return float(word) if isinstance(now, float) else word
    except (KeyError, ValueError):
        kind = "true or false" if isinstance(now, bool) else "a number"
        raise UsageError(f'--axis "{text[:80]}": "{word[:40]}" is not {kind}, as this input takes.') from None


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or "empty"


def is_link(value: Any) -> bool:
    """Whether an input comes from another node."""
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)) and isinstance(value[1], int)
    )


def image_output(object_info: Mapping[str, Any], kind: str) -> int | None:
    """Which output of a node type is a picture; ``None`` for one without."""
    outputs = (object_info.get(kind) or {}).get("output") or []
    return outputs.index("IMAGE") if "IMAGE" in outputs else None


def choices_of(object_info: Mapping[str, Any], kind: str, field: str) -> list[str]:
    """What an input of a node type lets one choose."""
    groups = (object_info.get(kind) or {}).get("input") or {}
    for group in groups.values():
        spec = group.get(field) if isinstance(group, Mapping) else None
        if spec:
            listed = spec[0] if isinstance(spec[0], list) else (spec[1] if len(spec) > 1 else {}).get("options")
            return [str(choice) for choice in listed] if isinstance(listed, list) else []
    return []
