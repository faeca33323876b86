"""A node of a bundled workflow while it is described."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

INSIDE, OUTSIDE = -10, -20
"""Ids of the two ends of a subgraph: where its inputs come in, and where its outputs go out."""


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
    floor: int = 0
    """It does not begin above this height: links pass there."""

    def __getitem__(self, output: str) -> tuple[Node, int]:
        names = [slot["name"] for slot in self.outputs]
        return self, names.index(output)

    def by_name(self) -> dict[str, Any]:
        """All outputs, to be linked to inputs of the same names."""
        return {slot["name"]: self[slot["name"]] for slot in self.outputs}


@dataclass
class Subgraph:
    """Nodes folded into one: the definition that the workflow holds beside its nodes."""

    id: str
    name: str
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)


def node_json(node: Node, order: int) -> dict[str, Any]:
    """The node as a workflow file holds it."""
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
