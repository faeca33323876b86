"""Where a layer goes that the model knows by a link: by another name, or as rows of a stack."""

from __future__ import annotations

from collections.abc import Iterable

from ..lora.file import LoraLayer
from ..model.blocks import MODEL_PREFIX
from ..model.family import HALVES, HALVES_OF_TWO, STRAIGHT
from ..report.report import LayerState
from .conditions import holds
from .diffusers_names import WEIGHT, Shapes
from .links import Linked, links_of
from .model_names import OTHER_MLP, FileNames, Found, Spot
from .stack import fill_heights, read_stack


def find_linked(
    shapes: Shapes, architecture: str, layer: LoraLayer, candidates: Iterable[str], names: FileNames, conditional: bool
) -> Found | None:
    """Where the links of the model's family put a layer; ``None`` where none of them leads to layers of the model.

    Args:
        shapes: Of the model's weights by their full keys.
        candidates: What the layer may be called.
        names: Of the layer's file.
        conditional: Follow the links that depend on more of the file than its names, or the others.
    """
    problem: Found | None = None
    links = links_of(architecture)
    for name in candidates:
        for linked in links.find(name):
            if bool(linked.link.when) is not conditional or not holds(linked.link.when, names.file):
                continue
            found = _place(shapes, layer, linked, names)
            if found is not None and found.spots:
                return found
            problem = problem or found
    return problem


def _place(shapes_by_key: Shapes, layer: LoraLayer, linked: Linked, names: FileNames) -> Found | None:
    """The rows of a module on the layers of a link; ``None`` where the model lacks one of them."""
    keys = [f"{MODEL_PREFIX}{name}" for name in linked.model]
    keys = [f"{key}{WEIGHT}" if f"{key}{WEIGHT}" in shapes_by_key else key for key in keys]
    if any(key not in shapes_by_key for key in keys):
        return None
    order = linked.link.order
    if order == HALVES_OF_TWO:
        shape = shapes_by_key[keys[0]]
        order = HALVES if len(shape) > 1 and shape[0] == 2 * shape[1] else STRAIGHT
    if len(keys) == 1 and len(linked.file) == 1 and not order:
        shape, rows = shapes_by_key[keys[0]], layer.out_features
        if linked.link.file[0].endswith("qkv") and shape and rows is not None and rows < shape[0]:
            return Found((Spot((keys[0], (0, 0, rows))),))  # q, k and v of a weight that goes on with others
        return Found((Spot(keys[0]),))
    shapes = [shapes_by_key[key] for key in keys]
    if not all(shapes):
        return Found(problem="its rows are stacked, and the model's weight is a single number")
    total = sum(shape[0] for shape in shapes)
    known = [names.rows(name) for name in linked.file]
    known[linked.part] = layer.out_features or known[linked.part]
    if len(known) > 3:  # what follows may be another model's, and moves nothing before it
        known[linked.part + 1 :] = [None] * (len(known) - linked.part - 1)
    columns = shapes[0][1] if len(shapes[0]) > 1 else None
    heights = fill_heights(linked.link.file, known, total, columns)
    try:
        pieces = read_stack(order, linked.part, heights, tuple(shape[0] for shape in shapes))
    except ValueError as error:
        if linked.file[linked.part].endswith("proj_mlp"):
            return Found(problem=OTHER_MLP)
        return Found(problem=str(error), state=LayerState.SHAPE_MISMATCH)
    spots = [
        Spot(
            keys[piece.layer]
            if piece.rows == shapes[piece.layer][0]
            else (keys[piece.layer], (0, piece.start, piece.rows)),
            piece.ranges,
        )
        for piece in pieces
    ]
    return Found(tuple(spots))
