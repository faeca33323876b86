"""Doubts about a file whose layers land: is it numbered, scaled and meant for this model? One module a question.

A doubt needs evidence in the file; a healthy file has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...lora.file import LoraFile
from ...match.depth import depth_doubt
from ...model.families import family
from ...model.identify import ArchitectureMatch
from ...report.report import Doubt, LayerReport, LayerState
from .merged import merged_alpha
from .provenance import other_version, training_adapter
from .scale import alpha_left_out, scale_spread, whole_factors

ALL_ZERO = "every layer of it that would land is all zero: it changes nothing in any model"


def find_doubts(
    file: LoraFile,
    name: str,
    layers: Iterable[LayerReport],
    model: ArchitectureMatch | None,
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[Doubt, ...]:
    """Every doubt about a file and a model.

    Args:
        name: Of the file, as the user sees it.
        layers: Fates of the file's layers.
        shapes: Of the model's weights, without prefix.
    """
    found: list[Doubt] = []
    states = {layer.state for layer in layers}
    if LayerState.DEAD in states and LayerState.APPLIED not in states:
        found.append(Doubt("all_zero", ALL_ZERO))
    depth = depth_doubt(file, shapes, family(model.id) if model is not None else None)
    if depth is not None:
        found.append(Doubt(depth.id, depth.sentence))
    questions = (whole_factors(file), scale_spread(file), alpha_left_out(file), merged_alpha(file))
    found.extend(doubt for doubt in questions if doubt is not None)
    others = (other_version(file, model, shapes), training_adapter(file, name))
    found.extend(doubt for doubt in others if doubt is not None)
    return tuple(found)
