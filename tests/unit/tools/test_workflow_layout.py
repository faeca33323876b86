"""How the bundled workflows lie on the canvas: nothing over anything else, and large enough to be read when opened."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support import ROOT

from tools.workflow_layout import FIRST_SLOT, SLOT, TITLE, VIEW

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
POINTS = 40


def graphs_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """What is on the canvas, then what is inside each subgraph."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    yield workflow
    yield from (workflow.get("definitions") or {}).get("subgraphs", [])


def box_of(node: Mapping[str, Any]) -> Box:
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_node_lies_over_another(path: Path) -> None:
    for graph in graphs_of(path):
        boxes = [(node["id"], box_of(node)) for node in graph["nodes"]]
        for i, (one, (left, top, right, bottom)) in enumerate(boxes):
            over = [
                (one, other) for other, box in boxes[i + 1 :]
                if left < box[2] and box[0] < right and top < box[3] and box[1] < bottom
            ]  # fmt: skip
            assert over == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_matters_can_be_read_when_it_is_opened(path: Path) -> None:
    """At 70 % or more in a window of 1440 x 900, and with our nodes in it."""
    workflow = next(graphs_of(path))
    x, y, width, height = workflow["extra"]["patchbay_view"]
    assert width <= VIEW[0]
    assert height <= VIEW[1]
    shown = [
        node["type"] for node in workflow["nodes"]
        if x <= node["pos"][0] and node["pos"][0] + node["size"][0] <= x + width and y <= node["pos"][1] <= y + height
    ]  # fmt: skip
    assert [kind for kind in shown if kind.startswith("Patchbay")]


def points_of(workflow: Mapping[str, Any], link: list[Any]) -> list[tuple[float, float]]:
    """Points on a link as ComfyUI draws it: curves that leave to the right and arrive from the left."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    number, source, slot, target, target_slot, _ = link
    start, end = nodes[source], nodes[target]
    stops = [(start["pos"][0] + start["size"][0], start["pos"][1] + FIRST_SLOT + SLOT * slot)]
    stops += [each["pos"] for each in workflow["extra"].get("reroutes", []) if number in each["linkIds"]]
    stops.append((end["pos"][0], end["pos"][1] + FIRST_SLOT + SLOT * target_slot))
    return [point for one, other in pairwise(stops) for point in _curve(one, other)]


def _curve(start: tuple[float, float], end: tuple[float, float]) -> Iterator[tuple[float, float]]:
    pull = math.dist(start, end) / 4
    for i in range(1, POINTS):
        t = i / POINTS
        a, b, c, d = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
        yield (
            a * start[0] + b * (start[0] + pull) + c * (end[0] - pull) + d * end[0],
            (a + b) * start[1] + (c + d) * end[1],
        )


def behind(workflow: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Links that pass behind a node, and the node."""
    found = []
    titles = {node["id"]: node.get("title") or node["type"] for node in workflow["nodes"]}
    for link in workflow["links"]:
        for node in workflow["nodes"]:
            left, top, right, bottom = box_of(node)
            if node["id"] in (link[1], link[3]):
                left, right = left + 40, right - 40
            if any(left + 8 < x < right - 8 and top + 2 < y < bottom - 2 for x, y in points_of(workflow, link)):
                found.append((f"{titles[link[1]]} -> {titles[link[3]]}", titles[node["id"]]))
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_link_passes_behind_a_node(path: Path) -> None:
    assert behind(next(graphs_of(path))) == []
