"""Fold nodes of a bundled workflow into a subgraph: what nobody needs to see first stands behind one node."""

from __future__ import annotations

import uuid
from typing import Any

from .workflow_layout import GAP, TITLE, height_of, place_in_layers
from .workflow_node import INSIDE, OUTSIDE, Node, Subgraph, node_json

Output = tuple[Node, int]


def fold(
    name: str, number: int, members: list[Node], links: list[list[Any]], inputs: dict[str, Output],
    outputs: dict[str, Output], next_link: int,
) -> tuple[Node, Subgraph, list[list[Any]]]:  # fmt: skip
    """Put nodes behind one.

    Args:
        name: What the node that stands for them is called.
        number: The id of that node.
        links: All links of the workflow; nothing outside may be linked to an output of the members yet.
        inputs: What comes in, by name, in the order of the sockets.
        outputs: What goes out.
        next_link: The first number that is free for new links.

    Returns:
        The node, the subgraph behind it, and the links that the workflow has now.

    Raises:
        ValueError: a link comes in from something that is not in ``inputs``, or goes out already.
    """
    inside = {node.id: node for node in members}
    subgraph = Subgraph(str(uuid.uuid5(uuid.NAMESPACE_URL, f"lora-patchbay/{name}/{number}")), name, nodes=members)
    instance = Node(number, subgraph.id, (0, 0), (0, 0), [], [], [], {"cnr_id": "comfy-core"}, name)
    ends = {(source.id, slot): label for label, (source, slot) in inputs.items()}
    kept: list[list[Any]] = []
    coming: dict[str, list[int]] = {label: [] for label in inputs}
    for link in links:
        link_id, source, slot, target, target_slot, kind = link
        if target not in inside and source not in inside:
            kept.append(link)
        elif source in inside and target in inside:
            subgraph.links.append(_link(link_id, source, slot, target, target_slot, kind))
        elif source in inside:
            raise ValueError(f"{name}: {inside[source].type} is linked to node {target} already; fold before that.")
        else:
            label = ends.get((source, slot))
            if label is None:
                raise ValueError(f"{name}: {inside[target].type} takes output {slot} of node {source}, not in inputs.")
            coming[label].append(link_id)
            end = list(inputs).index(label)
            subgraph.links.append(_link(link_id, INSIDE, end, target, target_slot, kind))
    for index, (label, (source, slot)) in enumerate(inputs.items()):
        output = source.outputs[slot]
        output["links"] = [each for each in output["links"] if each not in coming[label]] + [next_link]
        kept.append([next_link, source.id, slot, number, index, output["type"]])
        instance.inputs.append({"name": label, "type": output["type"], "link": next_link})
        subgraph.inputs.append(_end(subgraph, label, output["type"], coming[label]))
        next_link += 1
    for index, (label, (source, slot)) in enumerate(outputs.items()):
        output = source.outputs[slot]
        output["links"].append(next_link)
        subgraph.links.append(_link(next_link, source.id, slot, OUTSIDE, index, output["type"]))
        subgraph.outputs.append(_end(subgraph, label, output["type"], [next_link]))
        instance.outputs.append({"name": label, "type": output["type"], "links": [], "slot_index": index})
        next_link += 1
    return instance, subgraph, kept


def subgraph_json(subgraph: Subgraph) -> dict[str, Any]:
    """The definition as a workflow file holds it, its nodes in layers from left to right."""
    right, _ = place_in_layers(subgraph.nodes, subgraph.links)
    ends = (_ends_box(subgraph.inputs, -200), _ends_box(subgraph.outputs, right + 2 * GAP))
    for sockets, box in ((subgraph.inputs, ends[0]), (subgraph.outputs, ends[1])):
        for row, socket in enumerate(sockets):
            socket["pos"] = [box[0] + 100, box[1] + 20 + 20 * row]
    return {
        "id": subgraph.id,
        "version": 1,
        "state": {
            "lastGroupId": 0,
            "lastNodeId": max(node.id for node in subgraph.nodes),
            "lastLinkId": max(link["id"] for link in subgraph.links),
            "lastRerouteId": 0,
        },
        "revision": 0,
        "config": {},
        "name": subgraph.name,
        "inputNode": {"id": INSIDE, "bounding": ends[0]},
        "outputNode": {"id": OUTSIDE, "bounding": ends[1]},
        "inputs": subgraph.inputs,
        "outputs": subgraph.outputs,
        "widgets": [],
        "nodes": [node_json(node, order) for order, node in enumerate(subgraph.nodes)],
        "groups": [],
        "links": subgraph.links,
        "extra": {},
    }


def folded_size(node: Node) -> tuple[int, int]:
    """What the node that stands for a subgraph takes: a row for each socket."""
    return 260, height_of(max(len(node.inputs), len(node.outputs)))


def _link(number: int, source: int, slot: int, target: int, target_slot: int, kind: str) -> dict[str, Any]:
    return {
        "id": number, "origin_id": source, "origin_slot": slot, "target_id": target, "target_slot": target_slot,
        "type": kind,
    }  # fmt: skip


def _end(subgraph: Subgraph, label: str, kind: str, links: list[int]) -> dict[str, Any]:
    seed = f"{subgraph.id}/{label}/{len(subgraph.inputs)}/{len(subgraph.outputs)}"
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, seed)), "name": label, "type": kind, "linkIds": links}


def _ends_box(sockets: list[dict[str, Any]], x: int) -> list[int]:
    return [x, -TITLE, 120, 40 + 20 * len(sockets)]
