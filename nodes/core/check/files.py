"""Does a LoRA file fit a model file? Decided from their headers, without ComfyUI, by the rules that it follows.

What is all zero and how much of the strength lands stands in the tensors, which are read only on request.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from ..errors import HeaderError
from ..files.header import read_header
from ..files.tensors import Header, TensorInfo
from ..lora.adapters.diff import peft_ia3_dims
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..lora.file_kinds import looks_like_lora
from ..match.name_table import target_key, target_offset
from ..match.readings import DYLORA, NO_SUCH_WEIGHT, Understanding, understand
from ..match.shapes import misfit, slice_shape
from ..model.facts import is_text_encoder_name
from ..report.report import LayerReport, LayerState
from .model_file import ModelFile, read_model_file
from .report import Checked, conclude
from .verdict import NO_CLIP, find_stranger

NOT_READ = "only the headers were read; --measure reads the tensors"

_Target = tuple[str, tuple[int, int, int] | None]


def check_file(
    lora: str | os.PathLike[str], model: ModelFile | str | os.PathLike[str], measure: bool = False
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
    return check_lora_file(read_lora(_as_loaded(header)), model, measure)


def check_lora_file(file: LoraFile, model: ModelFile, measure: bool = False) -> Checked:
    """The same for a LoRA whose layers are already known."""
    fates = _Checker(file, model, "" if measure else NOT_READ).fates()
    if measure:
        from ..lora.numpy_norms import measure_layers

        layers = measure_layers(file.header, fates)
    else:
        layers = [report for report, _ in fates]
    order = {str(block): index for index, block in enumerate(model.checked.layout.blocks)}
    layers.sort(key=lambda layer: order.get(layer.block, len(order)))
    stranger = find_stranger(file, model.checked.shapes, model.checked.match)
    return conclude(file, file.header.name, model.checked, layers, stranger)


def needs_renaming(header: Header) -> bool:
    """Whether ComfyUI renames tensors of this file while it loads them."""
    return "img_in.lora_A.weight" in header.tensors and "single_blocks.0.norm.key_norm.scale" in header.tensors


class _Checker:
    """Goes through the layers of one file."""

    def __init__(self, file: LoraFile, model: ModelFile, not_measured: str) -> None:
        self._file = file
        self._model = model
        self._understood: Understanding = understand(file)
        self._taken: dict[_Target, str] = {}
        self._dylora = "lycoris" in file.header.metadata.get("ss_network_module", "").lower()
        self._not_measured = not_measured

    def fates(self) -> list[tuple[LayerReport, LoraLayer]]:
        """The fate of every layer, in the file's order."""
        return [(self._fate(layer), layer) for layer in self._understood.layers]

    def _fate(self, layer: LoraLayer) -> LayerReport:
        target, _, problem = self._model.names.find(layer)
        if target is None and layer.plain and not _is_text_encoder(layer.name):
            return self._report(layer, LayerState.NOT_UNDERSTOOD, NO_SUCH_WEIGHT)
        if target is None and problem:
            return self._report(layer, LayerState.NO_SUCH_LAYER, problem)
        if target is None and _is_text_encoder(layer.name):
            return self._report(layer, LayerState.NO_SUCH_LAYER, f"it belongs to a text encoder, and {NO_CLIP}")
        if layer.adapter is None:
            return self._report(layer, LayerState.NOT_UNDERSTOOD, layer.note or "its format is not understood")
        if target is None:
            return self._report(layer, LayerState.NO_SUCH_LAYER, "no layer of this model has this name")
        return self._on_target(layer, (target_key(target), target_offset(target)))

    def _on_target(self, layer: LoraLayer, target: _Target) -> LayerReport:
        key, offset = target
        weight = self._model.shapes[key]
        tensors = {role: self._file.header.tensors[name].shape for role, name in layer.roles.items()}
        refusal = self._refusal(layer, tensors, slice_shape(weight, offset))
        if not refusal and target in self._taken:
            refusal = f"{self._taken[target]} in the same file changes this weight already"
        if refusal:
            return self._report(layer, LayerState.NOT_UNDERSTOOD, refusal)
        self._taken[target] = layer.name
        problem = misfit(layer, tensors, weight, offset, self._on_input(layer))
        if problem:
            return self._report(layer, LayerState.SHAPE_MISMATCH, problem, target)
        remark = self._understood.remarks.get(layer.name, layer.note if layer.plain else "")
        return self._report(layer, LayerState.APPLIED, remark, target)

    def _report(self, layer: LoraLayer, state: LayerState, reason: str, target: _Target | None = None) -> LayerReport:
        key, offset = target or ("", None)
        place = self._model.places[key] if target is not None else None
        applied = state is LayerState.APPLIED
        return LayerReport(
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
            not_measured=self._not_measured,
            owner=self._file.header.name,
        )

    def _refusal(self, layer: LoraLayer, tensors: Mapping[str, tuple[int, ...]], weight: tuple[int, ...]) -> str:
        """Why nothing unique can be made of a layer that has a place; empty where it can."""
        if layer.scale_source.startswith("not known"):
            return f"its scale is {layer.scale_source}"
        if layer.format == "dylora" and self._dylora:
            return DYLORA
        if "ia3_l" in tensors and len(peft_ia3_dims(tensors["ia3_l"], weight)) > 1:
            return "it scales rows or columns, and nothing in the file says which"
        return ""

    def _on_input(self, layer: LoraLayer) -> bool:
        key = layer.roles.get("on_input")
        return key is not None and bool(self._file.header.scalars([key]).get(key))


def _is_text_encoder(name: str) -> bool:
    return is_text_encoder_name(name) or name.startswith(("text_encoder", "clip_", "base_model.model.text"))


def _as_loaded(header: Header) -> Header:
    """The header with the names that ComfyUI gives to the tensors of some files while it loads them.

    Black Forest Labs' control LoRAs (depth, canny) bring whole norms and biases, and an ``img_in`` that enlarges the
    model's.
    """
    if not needs_renaming(header):
        return header
    renamed: dict[str, TensorInfo] = {}
    for key, info in header.tensors.items():
        name = key.replace(".lora_B.bias", ".diff_b").replace("_norm.scale", "_norm.set_weight")
        renamed[f"diffusion_model.{name}"] = info._replace(key=f"diffusion_model.{name}")
    reshape = "diffusion_model.img_in.reshape_weight"
    renamed.setdefault(reshape, TensorInfo(reshape, "I64", (2,), 0, 0))
    return replace(header, tensors=renamed)
