"""A workflow as the frontend saves it, turned into the API format that ``POST /prompt`` takes.

Does what the frontend's ``graphToPrompt`` does, without a browser: a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .workflow_flat import WorkflowError, flattened

Json = Any

NOTES = frozenset({"Note", "MarkdownNote"})
REROUTE = "Reroute"
PRIMITIVE = "PrimitiveNode"
VIRTUAL = NOTES | {REROUTE, PRIMITIVE}
"""Node types that exist only in the frontend."""

MUTED, BYPASSED = 2, 4

WIDGET_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "CURVE", "COMFY_DYNAMICCOMBO_V3"})
SEED_NAMES = frozenset({"seed", "noise_seed"})
"""INT inputs that get the "control after generate" widget without asking for it."""


@dataclass(frozen=True)
class Link:
    """One wire of a workflow."""

    source: str
    """Id of the node that the wire comes from."""
    slot: int
    """Index of that node's output."""
    type: str
    """Socket type written in the workflow."""


@dataclass(frozen=True)
class WidgetInput:
    """An input that has a widget, in the order in which the values are saved."""

    name: str
    """Name in the API format; parts of a dynamic input have dotted names."""
    type: str
    """Socket type."""
    extra_values: int
    """How many more saved values follow: those of "control after generate"."""
    options: Mapping[str, Json]
    """The options of its definition."""
    choices: Sequence[Json] = ()
    """The choices of a COMBO that is defined by a list."""


class WorkflowGraph:
    """Nodes and wires of a saved workflow, looked up by id."""

    def __init__(self, workflow: Mapping[str, Json]) -> None:
        self.nodes: dict[str, Json] = {str(node["id"]): node for node in workflow["nodes"]}
        self.links: dict[int, Link] = dict(_read_links(workflow))

    def source_of(self, link_id: int | None) -> tuple[str, int] | Json:
        """Where a wire's value really comes from.

        Returns:
            ``(node id, output)``; for a primitive its value in a one-element list; None when the wire ends
            at nothing, or at a node that does not run.
        """
        seen: set[int] = set()
        while link_id is not None and link_id not in seen:
            seen.add(link_id)
            link = self.links.get(link_id)
            node = self.nodes.get(link.source) if link else None
            if link is None or node is None or node.get("mode") == MUTED:
                return None
            if node["type"] == PRIMITIVE:
                return [node.get("widgets_values", [None])[0]]
            if node["type"] == REROUTE:
                link_id = node["inputs"][0].get("link")
            elif node.get("mode") == BYPASSED:
                link_id = _bypass(node, link)
            else:
                return link.source, link.slot
        return None


def load_workflow(path: Path) -> Json:
    """A workflow file's content."""
    try:
        workflow = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkflowError(f"{path.name}: not JSON ({error}). Save the workflow again.") from error
    if not isinstance(workflow, dict) or not isinstance(workflow.get("nodes"), list):
        raise WorkflowError(
            f"{path.name}: expected a workflow with a list of nodes, as the frontend saves it. "
            "A file in API format can be posted as it is."
        )
    return workflow


def to_api(workflow: Mapping[str, Json], object_info: Mapping[str, Json]) -> dict[str, Json]:
    """A saved workflow in API format.

    Args:
        workflow: what the frontend saves.
        object_info: what ``GET /object_info`` answers, for the order and kind of the widgets.

    Raises:
        WorkflowError: a node type is not known to this ComfyUI, or a subgraph holds itself.
    """
    graph = WorkflowGraph(flattened(workflow))
    prompt: dict[str, Json] = {}
    for node_id, node in graph.nodes.items():
        if node["type"] in VIRTUAL or node.get("mode") in (MUTED, BYPASSED):
            continue
        definition = object_info.get(node["type"])
        if definition is None:
            raise WorkflowError(
                f"node {node_id}: {node['type']} is not known to this ComfyUI. "
                "Install the pack that it belongs to, or look in ComfyUI's log for a failed import."
            )
        inputs = {**default_values(node, definition), **saved_values(node, definition)}
        for socket in node.get("inputs") or []:
            source = graph.source_of(socket.get("link"))
            if isinstance(source, list):
                inputs[socket["name"]] = source[0]
            elif source is not None:
                inputs[socket["name"]] = list(source)
        prompt[node_id] = {
            "class_type": node["type"],
            "inputs": inputs,
            "_meta": {"title": node.get("title") or definition.get("display_name") or node["type"]},
        }
    return prompt


def saved_values(node: Mapping[str, Json], definition: Mapping[str, Json]) -> dict[str, Json]:
    """A node's saved widget values by input name."""
    saved = node.get("widgets_values")
    if isinstance(saved, Mapping):
        return {widget.name: saved[widget.name] for widget in _widgets(node, definition, []) if widget.name in saved}
    values = list(saved or [])
    found: dict[str, Json] = {}
    position = 0
    for widget in _widgets(node, definition, values):
        if position >= len(values):
            break
        found[widget.name] = _wrap(values[position], widget.type)
        position += 1 + widget.extra_values
    return found


def default_values(node: Mapping[str, Json], definition: Mapping[str, Json]) -> dict[str, Json]:
    """What the frontend fills in for widgets that the node type has got since the workflow was saved."""
    saved = node.get("widgets_values")
    defaults: dict[str, Json] = {}
    for widget in _widgets(node, definition, saved if isinstance(saved, list) else []):
        options = widget.options
        choices = options.get("options") or widget.choices
        if "default" in options:
            defaults[widget.name] = options["default"]
        elif choices:
            first = choices[0]
            defaults[widget.name] = first["key"] if isinstance(first, Mapping) else first
        elif widget.type in _EMPTY:
            defaults[widget.name] = options.get("min", 0) if widget.type in ("INT", "FLOAT") else _EMPTY[widget.type]
    return defaults


_EMPTY: dict[str, Json] = {"INT": 0, "FLOAT": 0, "STRING": "", "BOOLEAN": False}


def input_specs(definition: Mapping[str, Json]) -> dict[str, Sequence[Json]]:
    """A node type's inputs in the order in which the frontend shows them."""
    groups = definition.get("input") or {}
    order = definition.get("input_order") or {}
    specs: dict[str, Sequence[Json]] = {}
    for group in ("required", "optional"):
        members = groups.get(group) or {}
        names = [*order.get(group, []), *members]
        specs.update({name: members[name] for name in names if name in members})
    return specs


def options_of(spec: Sequence[Json]) -> Mapping[str, Json]:
    """The options of an input's definition."""
    return spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}


def type_of(spec: Sequence[Json]) -> str:
    """The socket type of an input's definition; a list of choices is a COMBO."""
    return "COMBO" if isinstance(spec[0], list) else str(spec[0])


def _widgets(node: Mapping[str, Json], definition: Mapping[str, Json], values: Sequence[Json]) -> Iterator[WidgetInput]:
    """The inputs of a node that have a widget. ``values`` are needed to know a dynamic input's parts."""
    named = {
        socket["widget"].get("name") for socket in node.get("inputs") or [] if isinstance(socket.get("widget"), Mapping)
    }
    position = 0
    pending = [(name, spec) for name, spec in input_specs(definition).items()]
    while pending:
        name, spec = pending.pop(0)
        options = options_of(spec)
        kind = type_of(spec)
        is_widget = kind in WIDGET_TYPES or options.get("widgetType") in WIDGET_TYPES or name in named
        if not is_widget or options.get("forceInput"):
            continue
        choices = spec[0] if isinstance(spec[0], list) else ()
        widget = WidgetInput(name, kind, _extra_values(name, kind, options), options, choices)
        yield widget
        if kind == "COMFY_DYNAMICCOMBO_V3" and position < len(values):
            pending = _dynamic_parts(name, options, values[position]) + pending
        position += 1 + widget.extra_values


def _extra_values(name: str, kind: str, options: Mapping[str, Json]) -> int:
    control = options.get("control_after_generate")
    if kind == "INT":
        return int(bool(control if control is not None else name in SEED_NAMES))
    if kind == "COMBO":
        return 2 if control else 0
    return 0


def _dynamic_parts(name: str, options: Mapping[str, Json], key: Json) -> list[tuple[str, Sequence[Json]]]:
    for option in options.get("options") or []:
        if option.get("key") == key:
            return [(f"{name}.{part}", spec) for part, spec in input_specs({"input": option["inputs"]}).items()]
    return []


def _wrap(value: Json, kind: str) -> Json:
    """A list would be read as a wire, so the API format wraps it."""
    if not isinstance(value, list):
        return value
    return {"__type__": "CURVE", "__value__": value} if kind == "CURVE" else {"__value__": value}


def _read_links(workflow: Mapping[str, Json]) -> Iterator[tuple[int, Link]]:
    """The wires of a workflow, in the array form of version 0.4 or the object form of version 1."""
    for link in workflow.get("links") or []:
        if isinstance(link, Mapping):
            yield link["id"], Link(str(link["origin_id"]), link["origin_slot"], str(link["type"]))
        elif link is not None:
            yield link[0], Link(str(link[1]), link[2], str(link[5]))


def _bypass(node: Mapping[str, Json], link: Link) -> int | None:
    """The wire that a bypassed node passes on: at the same position, else the first of the same type."""
    inputs = node.get("inputs") or []
    if link.slot < len(inputs) and link.type in (inputs[link.slot]["type"], "*"):
        return inputs[link.slot].get("link")
    for wanted in (link.type, "*"):
        for socket in inputs:
            if socket["type"] == wanted:
                return socket.get("link")
    return None
