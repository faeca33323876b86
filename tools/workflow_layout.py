"""Where the nodes of a bundled workflow come to lie: what is written in the descriptions is order, not pixels.

Nodes are stacked as high as the nodes and frames above them allow. Frames are drawn around their nodes afterwards.
Heights are at least what the nodes need in either of ComfyUI's renderers, as measured in a browser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .workflow_graph import Node

TITLE = 30
GAP = 40
FRAME, FRAME_TITLE = 20, 50
NEEDED = {
    "PatchbayApplyLora": (400, 900),
    "PatchbayApplyLoraStack": (400, 600),
    "PatchbayBenchmark": (600, 1140),
    "PatchbayBlockStrengths": (420, 900),
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
        y = node.beside.pos[1] if node.beside else 0
        for other in placed:
            if _share_a_column(node, other):
                apart = TITLE + GAP
                if frame_of.get(node.id) is not frame_of.get(other.id):
                    apart += FRAME_TITLE + 2 * FRAME
                y = max(y, other.pos[1] + other.size[1] + apart)
        node.pos = (node.pos[0], y)
        placed.append(node)
    return [_drawn(frame, frames, number) for number, frame in enumerate(frames, 1)]


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
