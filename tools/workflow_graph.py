"""Write a workflow in the format that ComfyUI's frontend opens, from a short description and the server's node list."""

from __future__ import annotations

import json
import os
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .workflow_fold import fold, folded_size, subgraph_json
from .workflow_layout import Frame, settle, view_of
from .workflow_node import Node, Subgraph, node_json

WIDGET_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"})
CORE_PACK, OUR_PACK = "comfy-core", "lora-patchbay"


@dataclass
class Graph:
    """A workflow under construction."""

    object_info: dict[str, Any]
    name: str
    nodes: list[Node] = field(default_factory=list)
    links: list[list[Any]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    subgraphs: list[Subgraph] = field(default_factory=list)
    bends: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """The points that a link passes, by its number."""
    last_node: int = 0
    last_link: int = 0

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
        self.last_node += 1
        node = Node(self.last_node, type_, pos, size, widgets or [], [], outputs, properties, title)
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
        """Place a note in Markdown. Words in backticks become bold: ComfyUI shows code blue on brown in the dark."""
        self.last_node += 1
        node = Node(self.last_node, "MarkdownNote", pos, size, [without_inline_code(text)], [], [], {}, title, "#432")
        self.nodes.append(node)

    def group(self, title: str, bounding: tuple[int, int, int, int], color: str = "#3f789e") -> None:
        """Draw a titled frame around the nodes that are described in ``(x, y, width, height)``."""
        self.frames.append(Frame(title, bounding, color))

    def fold(
        self,
        name: str,
        members: list[Node],
        pos: tuple[int, int],
        inputs: dict[str, tuple[Node, int]],
        outputs: dict[str, tuple[Node, int]],
    ) -> Node:
        """Put nodes behind one, in a subgraph; before anything is linked to their outputs.

        Args:
            inputs: What comes in, by name, in the order of the sockets: ``{"model": unet["MODEL"]}``.
            outputs: What goes out; the node that is returned has outputs of these names.
        """
        self.last_node += 1
        node, subgraph, self.links = fold(
            name, self.last_node, members, self.links, inputs, outputs, self.last_link + 1
        )
        self.last_link += len(inputs) + len(outputs)
        node.pos, node.size = pos, folded_size(node)
        folded = {id(member) for member in members}
        self.nodes = [each for each in self.nodes if id(each) not in folded] + [node]
        self.subgraphs.append(subgraph)
        return node

    def bend(self, target: Node, name: str, *at: tuple[int, int]) -> None:
        """Lead the link into an input through points: around what stands in its way."""
        link = next(slot["link"] for slot in target.inputs if slot["name"] == name)
        self.bends[link] = at

    def _link(self, source: Node, output: int, target: Node, slot: int, kind: str) -> None:
        self.last_link = link = self.last_link + 1
        self.links.append([link, source.id, output, target.id, slot, source.outputs[output]["type"] or kind])
        source.outputs[output]["links"].append(link)
        target.inputs[slot]["link"] = link

    def to_json(self) -> dict[str, Any]:
        """The workflow, with an id that depends on its name alone."""
        groups = settle(self.nodes, self.frames)
        folded = {"definitions": {"subgraphs": [subgraph_json(each) for each in self.subgraphs]}}
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"lora-patchbay/{self.name}")),
            "revision": 0,
            "last_node_id": self.last_node,
            "last_link_id": self.last_link,
            "nodes": [node_json(node, order) for order, node in enumerate(self.nodes)],
            "links": self.links,
            "groups": groups,
            **(folded if self.subgraphs else {}),
            "config": {},
            "extra": {
                "ds": {"scale": 0.7, "offset": [80, 120]},
                "patchbay_view": view_of(self.nodes),
                **(self._reroutes() if self.bends else {}),
            },
            "version": 0.4,
        }

    def _reroutes(self) -> dict[str, Any]:
        """The points, as version 0.4 of the format holds them."""
        reroutes: list[dict[str, Any]] = []
        extensions = []
        for link, points in self.bends.items():
            for number, at in enumerate(points):
                before = {"parentId": len(reroutes)} if number else {}
                reroutes.append({"id": len(reroutes) + 1, **before, "pos": list(at), "linkIds": [link]})
            extensions.append({"id": link, "parentId": len(reroutes)})
        return {"reroutes": reroutes, "linkExtensions": extensions}

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
            is_widget = not WIDGET_TYPES.isdisjoint((kind, options.get("widgetType"))) and not options.get("forceInput")
            if options.get("socketless"):
                continue
            result.append((name, kind, section == "optional", is_widget))
    return result


def without_inline_code(text: str) -> str:
    """The Markdown with inline code in bold; blocks of code stay.

    >>> without_inline_code("`a.*=0` in `models/vae`")
    '**a.\\\\*=0** in **models/vae**'
    """
    parts = re.split(r"(```.*?```)", text, flags=re.DOTALL)
    bold = [re.sub(r"`([^`]+)`", lambda found: f"**{_escaped(found[1])}**", part) for part in parts[::2]]
    parts[::2] = bold
    return "".join(parts)


def _escaped(words: str) -> str:
    return re.sub(r"([\\*<>])", r"\\\1", words)
