"""What ComfyUI's own LoRA loader would do with each layer of a file, found out without touching a weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...core.lora.file import LoraFile
from ...core.match.matches import ONLY_COMFYUI
from ...core.model.slices import torn_slice
from ...core.report.report import LayerReport, LayerState
from ..comfyui.model_keys import ModelKeys
from .dry_run import dry_run
from .patch import MatchedPatch
from .stock import MatchedFile

NO_PLACE = "it does not know this name"


@dataclass(frozen=True)
class StockFate:
    """One patch of ComfyUI's own loader and how it ends."""

    patch: MatchedPatch
    state: LayerState
    reason: str


def add_stock(
    layers: Sequence[LayerReport], file: LoraFile, matched: MatchedFile, keys: ModelKeys
) -> tuple[LayerReport, ...]:
    """The layers with ``stock`` and ``stock_reason``: the fate that they have with ComfyUI's own loader.

    Args:
        layers: Fates with Apply LoRA (Patchbay).
        matched: What ComfyUI's own mapping makes of the same file (``match_file``).
    """
    names = {key: layer.name for layer in file.layers for key in layer.keys}
    fates: dict[str, list[StockFate]] = {}
    for patch in matched.patches:
        fate = _fate(patch, keys)
        for name in {names.get(key, patch.lora_key) for key in patch.file_keys}:
            fates.setdefault(name, []).append(fate)
    return tuple(_with_stock(layer, fates.get(layer.lora_key, [])) for layer in layers)


def _with_stock(layer: LayerReport, fates: list[StockFate]) -> LayerReport:
    for fate in fates:
        patch = fate.patch
        if not layer.model_key or (patch.model_key == layer.model_key and _meet(patch.offset, layer.slice)):
            known = layer.reason != ONLY_COMFYUI
            otherwise = layer.reason if known and LayerState.APPLIED is fate.state is layer.state else ""
            return replace(layer, stock=fate.state, stock_reason=fate.reason or otherwise)
    return replace(layer, stock=LayerState.NO_SUCH_LAYER, stock_reason=NO_PLACE)


def _meet(a: tuple[int, int, int] | None, b: tuple[int, int, int] | None) -> bool:
    """Whether two slices of one weight overlap."""
    if a is None or b is None:
        return True
    return a[0] != b[0] or (a[1] < b[1] + b[2] and b[1] < a[1] + a[2])


def _fate(patch: MatchedPatch, keys: ModelKeys) -> StockFate:
    shape = keys.shapes.get(patch.model_key)
    if shape is None:
        return StockFate(patch, LayerState.NO_SUCH_LAYER, f"the model has no {patch.model_key}")
    failure = dry_run(patch.value, shape, patch.offset)
    if failure is None:
        failure = patch.problem(shape)
    if failure:
        return StockFate(patch, LayerState.SHAPE_MISMATCH, patch.problem(shape) or failure)
    if patch.dead:
        return StockFate(patch, LayerState.DEAD, "all zero in the file: it changes nothing")
    return StockFate(patch, LayerState.APPLIED, torn_slice(keys.layout.place(patch.model_key), shape, patch.offset))
