"""Where the nodes of a bundled workflow come to lie: what is written in the descriptions is order, not pixels.

Nodes are stacked as high as the nodes and frames above them allow. Frames are drawn around their nodes afterwards.
Heights are at least what the nodes need in either of ComfyUI's renderers, as measured in a browser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .workflow_node import Node

TITLE = 30
SLOT = 20
"""Height of a row with a socket."""
FIRST_SLOT = 14
"""How far below a node's top its first socket is."""
GAP = 40
FRAME, FRAME_TITLE = 20, 50
NEEDED = {
    "PatchbayApplyLora": (400, 780),
    "PatchbayApplyLoraStack": (400, 600),
    "PatchbayApplyLoras": (400, 200),
    "PatchbayBenchmark": (600, 1040),
    "PatchbayBlockStrengths": (420, 900),
    "PatchbayBlockSweep": (620, 1400),
    "PatchbayFeatureShift": (540, 900),
    "PatchbayFitStrengths": (540, 1000),
    "PatchbayInspectFile": (400, 440),
    "PatchbayLoadTinyVAE": (220, 90),
    "PatchbayMergeLoras": (440, 640),
    "PatchbaySaveLora": (440, 780),
    "PatchbayScheduleLora": (440, 800),
    "VAEDecode": (230, 60),
    "VAELoader": (300, 90),
}
"""Width and height that the contents take, in pixels of the canvas; the larger one of classic canvas and Nodes 2.0."""
_PANELS = frozenset({"PatchbayApplyLoras", "PatchbayCheckLora", "PatchbayCompareImages", "PatchbayShowPatches"})


VIEW = (1928, 1071)
"""Width and height that a window of 1440 x 900 shows between ComfyUI's menus at a zoom of 70 %, in canvas pixels."""


@dataclass
class Frame:
    """A titled frame. ``box`` is ``(x, y, width, height)`` as described: the nodes in it belong to the frame."""

    title: str
    box: tuple[int, int, int, int]
    color: str
    members: list[Node] = field(default_factory=list)


def settle(nodes: list[Node], frames: list[Frame]) -> list[dict[str, Any]]:
    """Move the nodes to their places, and return the frames as the workflow file holds them."""
    for node in nodes:
        needed = NEEDED.get(node.type, (0, 0))
        node.size = (max(node.size[0], needed[0]), max(node.size[1], needed[1]))
    frame_of: dict[int, Frame] = {}
    for frame in frames:
        x, y, width, height = frame.box
        frame.members = [n for n in nodes if x <= n.pos[0] < x + width and y <= n.pos[1] < y + height]
        frame_of |= {node.id: frame for node in frame.members}
    placed: list[Node] = []
    for node in sorted(nodes, key=lambda each: (each.pos[1], each.pos[0])):
        y = max(node.floor, node.beside.pos[1] if node.beside else 0)
        for other in placed:
            if _share_a_column(node, other):
                apart = TITLE + GAP
                if frame_of.get(node.id) is not frame_of.get(other.id):
                    apart += FRAME_TITLE + 2 * FRAME
                y = max(y, other.pos[1] + other.size[1] + apart)
        node.pos = (node.pos[0], y)
        placed.append(node)
    return [_drawn(frame, frames, number) for number, frame in enumerate(frames, 1)]


def view_of(nodes: list[Node]) -> list[int]:
    """What is shown when the workflow is opened, ``[x, y, width, height]``: all of it where that can be read in a
    window of 1440 x 900, otherwise as much as can, from the first of our nodes with a panel on."""
    box = _box(nodes)
    if box[2] <= VIEW[0] and box[3] <= VIEW[1]:
        return box
    if box[2] <= VIEW[0]:
        return [*box[:3], VIEW[1]]
    x, y, width, height = _box([node for node in nodes if node.type in NEEDED or node.type in _PANELS] or nodes)
    return [x, y, min(width, VIEW[0]), min(height, VIEW[1])]


def _box(nodes: list[Node]) -> list[int]:
    left, top = min(node.pos[0] for node in nodes), min(node.pos[1] for node in nodes) - TITLE
    right = max(node.pos[0] + node.size[0] for node in nodes)
    bottom = max(node.pos[1] + node.size[1] for node in nodes)
    return [left, top, right - left, bottom - top]


def height_of(sockets: int) -> int:
    """The height of a node with so many rows of sockets and nothing else."""
    return 10 + SLOT * sockets


def place_in_layers(nodes: list[Node], links: list[dict[str, Any]]) -> tuple[int, int]:
    """Put nodes into columns from left to right, each as near to what it feeds as it can stand; the right and bottom
    edge of all."""
    feeds = {node.id: [link["target_id"] for link in links if link["origin_id"] == node.id] for node in nodes}
    layer: dict[int, int] = {}

    def layer_of(node_id: int) -> int:
        if node_id not in layer:
            layer[node_id] = 1 + max(
                (layer_of(target) for target in feeds.get(node_id, []) if target in feeds), default=-1
            )
        return layer[node_id]

    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(layer_of(node.id), []).append(node)
    x = bottom = 0
    for number in sorted(columns, reverse=True):
        y = 0
        for node in columns[number]:
            node.pos = (x, y)
            y += node.size[1] + TITLE + GAP
        x += max(node.size[0] for node in columns[number]) + 2 * GAP
        bottom = max(bottom, y)
    return x, bottom


def _share_a_column(node: Node, other: Node) -> bool:
    return node.pos[0] < other.pos[0] + other.size[0] + FRAME and other.pos[0] < node.pos[0] + node.size[0] + FRAME


def _drawn(frame: Frame, frames: list[Frame], number: int) -> dict[str, Any]:
    """Frames that are described with the same bottom edge end at the same height."""
    left = min(node.pos[0] for node in frame.members) - FRAME
    right = max(node.pos[0] + node.size[0] for node in frame.members) + FRAME
    top = min(node.pos[1] for node in frame.members) - TITLE - FRAME_TITLE
    level = [each for each in frames if each.box[1] + each.box[3] == frame.box[1] + frame.box[3]]
    bottom = max(node.pos[1] + node.size[1] for each in level for node in each.members) + FRAME
    box = [left, top, right - left, bottom - top]
    return {"id": number, "title": frame.title, "bounding": box, "color": frame.color, "font_size": 24, "flags": {}}
