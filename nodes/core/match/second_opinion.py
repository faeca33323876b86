"""What ComfyUI's own key map says of a name that ours knows, where it runs: the same, or something else."""

from __future__ import annotations

from ..model.blocks import MODEL_PREFIX
from .diffusers_names import Shapes
from .model_names import Found, OrderOf, Spot
from .name_table import Target, target_function, target_key, target_offset


def compared(ours: Found, theirs: Target, shapes: Shapes, order_of: OrderOf | None) -> Found:
    """Ours beside what ComfyUI's key map says of the same name."""
    if len(ours.spots) == 1 and _same(ours.spots[0], theirs, shapes, order_of):
        return Found((Spot(theirs),), known=True)
    key, offset = target_key(theirs).removeprefix(MODEL_PREFIX), target_offset(theirs)
    rows = "" if offset is None else f", rows {offset[1]}-{offset[1] + offset[2] - 1}"
    function = " in another order of rows" if target_function(theirs) is not None else ""
    return ours._replace(known=True, difference=f"the stock loader puts it on {key}{rows}{function}")


def _same(spot: Spot, theirs: Target, shapes: Shapes, order_of: OrderOf | None) -> bool:
    key = target_key(spot.target)
    shape = shapes.get(key, ())
    if target_key(theirs) != key or _rows(spot.target, shape) != _rows(theirs, shape):
        return False
    function = target_function(theirs)
    if function is None:
        return spot.ranges is None
    order = order_of(function, shape[0]) if order_of is not None and shape else None
    return order is not None and order == spot.ranges


def _rows(target: Target, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The slice of a target, ``None`` where it is the whole weight."""
    offset = target_offset(target)
    whole = offset is not None and offset[0] < len(shape) and offset[1:] == (0, shape[offset[0]])
    return None if whole else offset
