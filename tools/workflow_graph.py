"""Write a workflow in the format that ComfyUI's frontend opens, from a short description and the server's node list."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .workflow_layout import Frame, settle

WIDGET_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"})
CORE_PACK, OUR_PACK = "comfy-core", "lora-patchbay"


@dataclass
class Node:
    """One node on the canvas; ``node["image"]`` is its output of that name, to be linked."""

    id: int
    type: str
    pos: tuple[int, int]
    size: tuple[int, int]
    widgets: list[Any]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    properties: dict[str, Any]
    title: str = ""
    color: str = ""
    beside: Node | None = None
    """A node of the same row: this one does not begin above it."""

    def __getitem__(self, output: str) -> tuple[Node, int]:
        names = [slot["name"] for slot in self.outputs]
        return self, names.index(output)


@dataclass
class Graph:
    """A workflow under construction."""

    object_info: dict[str, Any]
    name: str
    nodes: list[Node] = field(default_factory=list)
    links: list[list[Any]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def add(
        self,
        type_: str,
        pos: tuple[int, int],
        size: tuple[int, int],
        widgets: list[Any] | None = None,
        title: str = "",
        models: list[dict[str, str]] | None = None,
        beside: Node | None = None,
        **connected: tuple[Node, int],
    ) -> Node:
        """Add a node and connect its inputs; ``connected`` maps input names to ``node["output"]``.

        ``pos`` says in which column the node stands and what it stands below; :func:`settle` gives it its place.
        """
        info = self.object_info[type_]
        ours = type_.startswith("Patchbay")
        properties: dict[str, Any] = {"Node name for S&R": type_, "cnr_id": OUR_PACK if ours else CORE_PACK}
        if models:
            properties["models"] = models
        outputs = [
            {"name": name, "type": kind, "links": [], "slot_index": index}
            for index, (name, kind) in enumerate(zip(info["output_name"], info["output"], strict=True))
        ]
        node = Node(len(self.nodes) + 1, type_, pos, size, widgets or [], [], outputs, properties, title)
        node.beside = beside
        self.nodes.append(node)
        for name, kind, optional, is_widget in _inputs_of(info):
            if is_widget and name not in connected:
                continue
            slot: dict[str, Any] = {"name": name, "type": kind, "link": None}
            if optional:
                slot["shape"] = 7
            if is_widget:
                slot["widget"] = {"name": name}
            node.inputs.append(slot)
            if name in connected:
                self._link(*connected.pop(name), node, len(node.inputs) - 1, kind)
        if connected:
            raise ValueError(f"{type_} has no input {', '.join(connected)}; it has {[i[0] for i in _inputs_of(info)]}.")
        return node

    def note(self, text: str, pos: tuple[int, int], size: tuple[int, int], title: str = "") -> None:
        """Place a note in Markdown."""
        node = Node(len(self.nodes) + 1, "MarkdownNote", pos, size, [text], [], [], {}, title, "#432")
        self.nodes.append(node)

    def group(self, title: str, bounding: tuple[int, int, int, int], color: str = "#3f789e") -> None:
        """Draw a titled frame around the nodes that are described in ``(x, y, width, height)``."""
        self.frames.append(Frame(title, bounding, color))

    def _link(self, source: Node, output: int, target: Node, slot: int, kind: str) -> None:
        link = len(self.links) + 1
        self.links.append([link, source.id, output, target.id, slot, source.outputs[output]["type"] or kind])
        source.outputs[output]["links"].append(link)
        target.inputs[slot]["link"] = link

    def to_json(self) -> dict[str, Any]:
        """The workflow, with an id that depends on its name alone."""
        groups = settle(self.nodes, self.frames)
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"lora-patchbay/{self.name}")),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": [_node_json(node, order) for order, node in enumerate(self.nodes)],
            "links": self.links,
            "groups": groups,
            "config": {},
            "extra": {"ds": {"scale": 0.7, "offset": [80, 120]}},
            "version": 0.4,
        }

    def write(self, folder: Path) -> Path:
        """Write ``<name>.json`` and return its path."""
        path = folder / f"{self.name}.json"
        part = path.with_suffix(".json.part")
        part.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, path)
        return path


def _inputs_of(info: dict[str, Any]) -> list[tuple[str, str, bool, bool]]:
    """Name, type, whether optional, whether a widget, for every input in order."""
    result = []
    for section in ("required", "optional"):
        for name, spec in info["input"].get(section, {}).items():
            kind = "COMBO" if isinstance(spec[0], list) else spec[0]
            options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
            is_widget = kind in WIDGET_TYPES and not options.get("forceInput")
            if options.get("socketless"):
                continue
            result.append((name, kind, section == "optional", is_widget))
    return result


def _node_json(node: Node, order: int) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": node.id,
        "type": node.type,
        "pos": list(node.pos),
        "size": list(node.size),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": node.inputs,
        "outputs": [slot | {"links": slot["links"] or None} for slot in node.outputs],
        "properties": node.properties,
        "widgets_values": node.widgets,
    }
    if node.title:
        data["title"] = node.title
    if node.color:
        data |= {"color": node.color, "bgcolor": "#653"}
    return data
