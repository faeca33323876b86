"""Layers of a file that change nothing in any model, because a factor of theirs is all zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..files.peek import Peek
from ..report.report import LayerReport, LayerState
from .file import LoraFile, LoraLayer

FACTORS: Mapping[str, tuple[str, ...]] = {
    "lora": ("up", "down", "mid"), "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    "lokr": ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"), "oft": ("oft_blocks",),
    "boft": ("oft_blocks",), "oft_2": ("oft_R",), "diff": ("diff",), "diff_b": ("diff_b",), "norm": ("w_norm",),
    "norm_b": ("b_norm",), "ia3": ("ia3_weight",),
}  # fmt: skip
"""Tensors of each adapter of which one that is all zero leaves no change."""

DEAD = "all zero in the file: it changes nothing"

UNUSED = "all zero, and unused"
"""Begin of the reason where nothing is amiss: a trainer that fuses q, k and v keeps the modules of the three."""


def mark_dead(file: LoraFile, fates: Iterable[tuple[LayerReport, LoraLayer]]) -> list[tuple[LayerReport, LoraLayer]]:
    """The fates, with what would land and is all zero as dead."""
    with Peek(file.header) as peek:
        return [
            (report.changed(state=LayerState.DEAD, reason=DEAD, strength=0.0, shape=None), layer)
            if report.state is LayerState.APPLIED and is_dead(peek, layer)
            else (report, layer)
            for report, layer in fates
        ]


def is_dead(peek: Peek, layer: LoraLayer) -> bool:
    """Whether a factor of a layer is all zero. A DoRA rescales the weight all the same, and so does a rescaled OFT."""
    if layer.adapter is None or layer.dora or not layer.roles.keys().isdisjoint(("rescale", "reshape")):
        return False
    return has_zero_factor(peek, layer)


def has_zero_factor(peek: Peek, layer: LoraLayer) -> bool:
    """Whether a factor of a layer's product is all zero, whatever its magnitudes say."""
    if layer.adapter is None:
        return False
    for role in FACTORS.get(layer.adapter.name, ()):
        key = layer.roles.get(role)
        if key is not None and peek.is_zero(key):
            return True
    return False
