"""Does a LoRA file fit a model file? Decided from their headers, without ComfyUI, by the rules that it follows.

What is all zero and how much of the strength lands stands in the tensors, which are read only on request.
"""

from __future__ import annotations

import os

from ..errors import HeaderError
from ..files.elsewhere.source import Source
from ..files.header import read_header
from ..files.tensors import Header
from ..lora.dead import mark_dead
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..lora.file_kinds import looks_like_lora
from ..match.matches import Match, Patch, match_layers
from ..match.readings import as_loaded, understand
from ..match.shapes import slice_shape
from ..report.report import LayerReport, LayerState
from .model_file import ModelFile, read_model_file
from .report import Checked, conclude
from .verdict import find_stranger

NOT_READ = "only the headers were read; --measure reads the tensors"

PART = "only some of its rows go here, which are measured in ComfyUI only"


def check_file(
    lora: str | os.PathLike[str] | Source,
    model: ModelFile | str | os.PathLike[str] | Source,
    measure: bool = False,
) -> Checked:
    """Judge a LoRA file for a model file. Neither is changed.

    Args:
        measure: Also read the tensors of the LoRA, a little at a time, for their norms (needs numpy).

    Raises:
        HeaderError: a file is not what it should be, is cut off or contradicts itself.
        IncompatibleModelError: the model file holds no diffusion model.
        OSError: a file cannot be opened.
        ImportError: ``measure`` without numpy.
    """
    if not isinstance(model, ModelFile):
        model = read_model_file(model)
    header = read_header(lora)
    if not looks_like_lora(header):
        raise HeaderError(f"{header.name}: is not a LoRA; 'inspect' says what it is.")
    return check_header(header, model, measure)


def check_header(header: Header, model: ModelFile, measure: bool = False) -> Checked:
    """The same for a LoRA whose header is already read."""
    return check_lora_file(read_lora(as_loaded(header)), model, measure)


def check_lora_file(file: LoraFile, model: ModelFile, measure: bool = False) -> Checked:
    """The same for a LoRA whose layers are already known."""
    fates = mark_dead(file, _Checker(file, model, "" if measure else NOT_READ).fates())
    if measure:
        from ..lora.numpy_norms import measure_layers

        measured = iter(measure_layers(file.header, [fate for fate in fates if fate[0].not_measured != PART]))
        layers = [report if report.not_measured == PART else next(measured) for report, _ in fates]
    else:
        layers = [report for report, _ in fates]
    order = {str(block): index for index, block in enumerate(model.checked.layout.blocks)}
    layers.sort(key=lambda layer: order.get(layer.block, len(order)))
    stranger = find_stranger(file, model.checked.shapes, model.checked.match)
    return conclude(file, file.header.name, model.checked, layers, stranger)


class _Checker:
    """Writes down what becomes of the layers of one file."""

    def __init__(self, file: LoraFile, model: ModelFile, not_measured: str) -> None:
        self._file = file
        self._model = model
        self._blank = LayerReport(LayerState.APPLIED, not_measured=not_measured, owner=file.header.name)

    def fates(self) -> list[tuple[LayerReport, LoraLayer]]:
        """The fate of every layer, in the file's order; one that goes to several weights has several."""
        model = self._model
        matches = match_layers(self._file, understand(self._file), model.names, model.shapes, False)
        return [(report, match.layer) for match in matches.layers for report in self._of_layer(match)]

    def _of_layer(self, match: Match) -> list[LayerReport]:
        if not match.patches:
            return [self._report(match.layer, match.state, match.reason)]
        return [self._of_patch(match, patch) for patch in match.patches]

    def _of_patch(self, match: Match, patch: Patch) -> LayerReport:
        if patch.misfit:
            return self._report(match.layer, LayerState.SHAPE_MISMATCH, patch.misfit, patch)
        report = self._report(match.layer, LayerState.APPLIED, match.remark, patch)
        return report.changed(not_measured=report.not_measured or PART) if patch.takes else report

    def _report(self, layer: LoraLayer, state: LayerState, reason: str, patch: Patch | None = None) -> LayerReport:
        key, offset = (patch.model_key, patch.offset) if patch is not None else ("", None)
        place = self._model.places[key] if patch is not None else None
        applied = state is LayerState.APPLIED
        return self._blank.changed(
            state=state,
            reason=reason,
            lora_key=layer.name,
            model_key=key,
            block=place.address if place is not None else "",
            layer=place.layer if place is not None else "",
            slice=offset,
            format=layer.format,
            rank=layer.rank,
            alpha=layer.alpha,
            scale=layer.scale,
            scale_source=layer.scale_source,
            strength=1.0 if applied else 0.0,
            shape=slice_shape(self._model.shapes[key], offset) if applied else None,
        )
