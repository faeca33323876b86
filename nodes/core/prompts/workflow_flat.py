"""A saved workflow without subgraphs: what is in one stands in its place, as the frontend queues it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import PatchbayError

Json = Any

INSIDE, OUTSIDE = -10, -20
"""Ids of a subgraph's own ends in its links."""


class WorkflowError(PatchbayError):
    """A workflow cannot be read or turned into API format."""


def flattened(workflow: Mapping[str, Json]) -> dict[str, Json]:
    """The workflow with every subgraph's nodes in the place of the node that stands for it.

    A node 3 in the subgraph of node 7 gets the id ``7:3``, as in the frontend's API format.

    Raises:
        WorkflowError: a subgraph holds itself.
    """
    definitions = {str(each["id"]): each for each in (workflow.get("definitions") or {}).get("subgraphs") or []}
    if not definitions:
        return dict(workflow)
    flat = _Flat(definitions)
    flat.put(workflow, "", ())
    for node in flat.nodes:
        node["inputs"] = [
            socket | {"link": flat.number_of(node["id"], index)} for index, socket in enumerate(node["inputs"])
        ]
    return {**workflow, "nodes": flat.nodes, "links": flat.links, "definitions": {}}


class _Flat:
    def __init__(self, definitions: Mapping[str, Json]) -> None:
        self.definitions = definitions
        self.nodes: list[dict[str, Json]] = []
        self.sources: dict[tuple[str, int], tuple[str, int]] = {}
        """Where each input comes from: ends of subgraphs count as nodes, ``7:-10`` and ``7``."""
        self.kinds: dict[tuple[str, int], str] = {}
        self.links: list[list[Json]] = []

    def put(self, graph: Mapping[str, Json], prefix: str, within: tuple[str, ...]) -> None:
        """Add the nodes and links of a graph."""
        for link in graph.get("links") or []:
            source, slot, target, target_slot, kind = _ends_of(link)
            self.sources[f"{prefix}{target}", target_slot] = (f"{prefix}{source}", slot)
            self.kinds[f"{prefix}{target}", target_slot] = kind
        for node in graph["nodes"]:
            node_id, kind = f"{prefix}{node['id']}", str(node["type"])
            if kind not in self.definitions:
                self.nodes.append({**node, "id": node_id, "inputs": [dict(each) for each in node.get("inputs") or []]})
                continue
            if kind in within:
                raise WorkflowError(
                    f"subgraph {self.definitions[kind].get('name')} holds itself. Unpack it and save again."
                )
            self.put(self.definitions[kind], f"{node_id}:", (*within, kind))

    def number_of(self, node_id: str, index: int) -> int | None:
        """A new link from where an input's value really comes from, None where nothing is connected."""
        kind = self.kinds.get((node_id, index))
        source = self.sources.get((node_id, index))
        known = {node["id"] for node in self.nodes}
        while source is not None and source[0] not in known:
            outer, _, inner = source[0].rpartition(":")
            # An input's inner side is that input of the node that stands for the subgraph, and such a node's output
            # is what the subgraph gives out.
            side = outer if inner == str(INSIDE) else f"{source[0]}:{OUTSIDE}"
            source = self.sources.get((side, source[1]))
        if source is None:
            return None
        self.links.append([len(self.links) + 1, source[0], source[1], node_id, index, kind])
        return len(self.links)


def _ends_of(link: Json) -> tuple[str, int, str, int, str]:
    """Source, output, target, input and type, from the array form or the object form."""
    if isinstance(link, Mapping):
        ends = (link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"], link["type"])
    else:
        ends = tuple(link[1:6])
    return str(ends[0]), int(ends[1]), str(ends[2]), int(ends[3]), str(ends[4])
