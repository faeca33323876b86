"""What a loaded model is: blocks, storage, patches - and how far a second model lies from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import comfy.model_management
import comfy.utils
import torch

from ...core.check.verdict import identify_weights, sampling_advice
from ...core.model.blocks import MODEL_PREFIX
from ...core.report.report import LayerState, LoraSummary, ModelBlock, Report
from ...core.transfer.weight_distance import Distance, Shift, weight_distance, weight_shift
from ..apply.apply import summarise_lora
from ..apply.lora_cache import LORA_CACHE
from ..apply.plan import MATCHES, PlannedLayer, owned_patches, plan_patches
from ..comfyui.model_keys import ModelKeys, is_storage, logical_shape
from ..comfyui.private import has_backup, quantised_layout
from ..comfyui.stored_as import stored_as
from ..norms.patches import parameter, read_weight
from .contents import patched_weight
from .file_weights import open_weights

INDICATOR = (
    "Direction shift and cosine are indicators: they have not been shown to predict how a LoRA of the first model "
    "works on the second. Direction shift: how far the directions that the LoRA edits moved, against what they were; "
    "cosine: below 0 the LoRA undoes the step from the first model to the second, above 0 it repeats it."
)
_FLOATS = {"float32", "bfloat16", "float16", "float64"}

Offset = tuple[int, int, int]
Reader = Callable[[str], torch.Tensor | None]
"""Gives the weight behind a key of one of the models, or ``None``."""


@dataclass
class _Block:
    """Sums over the weights of one block."""

    weights: int = 0
    parameters: int = 0
    dtypes: Counter[str] = field(default_factory=Counter)
    patched: int = 0
    distance: Distance = Distance()
    shift: Shift = Shift()
    missing: dict[str, None] = field(default_factory=dict)

    def report(self, name: str) -> ModelBlock:
        """The same as the report has it."""
        compared = self.distance.weights > 0
        return ModelBlock(
            block=name,
            weights=self.weights,
            parameters=self.parameters,
            dtypes=dict(self.dtypes.most_common()),
            patched=self.patched,
            distance=self.distance.relative if compared else None,
            direction_shift=self.shift.direction_shift,
            cosine=self.shift.cosine,
            not_compared="; ".join(self.missing),
        )


def inspect_model(
    model: Any,
    model_b: Any = None,
    lora_path: str = "",
    lora_name: str = "",
    file_b: str = "",
    patched: bool = False,
) -> Report:
    """A report on ``model``; with a second one also the distance of each block, and with a LoRA too what that means for
    the directions that it edits.

    Args:
        model_b: A second loaded model, or ``None``.
        file_b: Path of a model file to compare with instead, read one weight at a time.
        patched: Compare the weights with what is patched on them instead of those below.

    Raises:
        HeaderError: the LoRA or the file cannot be read.
        IncompatibleModelError: the file holds no diffusion model.
    """
    read = patched_weight if patched else read_weight
    first = partial(read, model)
    if file_b and model_b is None:
        with open_weights(file_b) as weights:
            return _inspect(model, first, weights.read, lora_path, lora_name, patched)
    second = None if model_b is None else partial(read, model_b)
    return _inspect(model, first, second, lora_path, lora_name, patched)


def _inspect(model: Any, first: Reader, second: Reader | None, lora_path: str, lora_name: str, patched: bool) -> Report:
    keys = MATCHES.model_keys(model, None)
    blocks = {str(block): _Block() for block in keys.layout.blocks}
    blocks["other"] = _Block()
    weights = [key for key in keys.shapes if key.startswith(MODEL_PREFIX) and not is_storage(key)]
    state = model.model_state_dict()
    for key in weights:
        _describe(blocks[keys.layout.place(key).address], model, state, key)
    notes = _patch_notes(model, weights, patched)
    lora_summary: LoraSummary | None = None
    plan_layers: tuple[PlannedLayer, ...] = ()
    if lora_path:
        lora = LORA_CACHE.load(lora_path, lora_name)
        lora_summary = summarise_lora(lora)
        plan_layers = plan_patches(lora, keys, 1.0, 1.0, "").layers
    if second is not None:
        _compare(blocks, first, second, weights, keys, plan_layers)
        notes += _comparison_notes(blocks, plan_layers)
    elif lora_path:
        notes.append("The LoRA was not used: it is used only when a second model is given.")
    reports = tuple(block.report(name) for name, block in blocks.items() if block.weights)
    match = identify_weights(keys.own_shapes)
    advice = sampling_advice(match)
    return Report(
        kind="model",
        title=f"{keys.summary.architecture}" + (" and a second model" if second is not None else ""),
        summary=_summary(keys, reports, blocks, second is not None),
        model=keys.summary,
        lora=lora_summary,
        notes=(*notes, *((advice,) if advice else ())),
        model_blocks=reports,
    )


def _describe(block: _Block, model: Any, state: dict[str, Any], key: str) -> None:
    weight = parameter(model, key)
    shape = logical_shape(state[key] if weight is None else weight)
    block.weights += 1
    block.parameters += math.prod(shape)
    block.dtypes[_storage(state, key, weight)] += 1
    block.patched += bool(model.patches.get(key))


def _storage(state: dict[str, Any], key: str, weight: Any) -> str:
    """How a weight is stored: its dtype, or the quantisation format with it."""
    stored = state[key]
    dtype = str(stored.dtype).removeprefix("torch.")
    if quantised_layout(weight):
        return f"{stored_as(weight)} (quantised)"
    gguf = getattr(weight, "tensor_type", None)
    if gguf is not None:
        return f"{getattr(gguf, 'name', gguf)} (GGUF)"
    if dtype in _FLOATS:
        return dtype
    return f"{dtype} (plain cast)" if dtype.startswith("float8") else dtype


def _compare(
    blocks: dict[str, _Block],
    first: Reader,
    second: Reader,
    weights: list[str],
    keys: ModelKeys,
    layers: Iterable[PlannedLayer],
) -> None:
    """Stream both models weight by weight."""
    edits: dict[str, list[PlannedLayer]] = {}
    for layer in layers:
        if layer.report.state is LayerState.APPLIED:
            edits.setdefault(layer.report.model_key, []).append(layer)
    progress = comfy.utils.ProgressBar(len(weights))
    for key in weights:
        comfy.model_management.throw_exception_if_processing_interrupted()
        block = blocks[keys.layout.place(key).address]
        a, b = first(key), second(key)
        problem = _cannot_compare(a, b)
        if problem or a is None or b is None:
            block.missing[problem] = None
        else:
            block.distance += weight_distance(a, b)
            for layer in edits.get(key, ()):
                _add_shift(block, layer, a, b)
        progress.update(1)


def _cannot_compare(a: torch.Tensor | None, b: torch.Tensor | None) -> str:
    if a is None:
        return "a weight of the first model cannot be read as numbers"
    if b is None:
        return "the second model has no such weight, or it cannot be read as numbers"
    if a.shape != b.shape:
        return f"the second model's weight is {_shape(b)}, the first one's {_shape(a)}"
    return ""


def _shape(weight: torch.Tensor) -> str:
    return " x ".join(str(side) for side in weight.shape)


def _add_shift(block: _Block, layer: PlannedLayer, a: torch.Tensor, b: torch.Tensor) -> None:
    parts = None if layer.patch is None else layer.patch.parts
    if parts is None or not parts.is_plain_lora:
        block.missing[f"{layer.report.format or 'a patch'} has no two factors to take directions from"] = None
        return
    up, down = (parts.tensors[role].detach().cpu().float() for role in ("up", "down"))
    if layer.report.slice is not None:
        a, b = a.narrow(*layer.report.slice), b.narrow(*layer.report.slice)
    block.shift += weight_shift(a, b, up, down, parts.scale)


def _patch_notes(model: Any, weights: list[str], with_them: bool) -> list[str]:
    patched = [key for key in weights if model.patches.get(key)]
    if not patched:
        return ["Nothing is patched on this model."]
    owners = sorted({patch.owner for patch in owned_patches(model)})
    by = f", by {', '.join(owners)}" if owners else ""
    notes = [f"{len(patched)} of {len(weights)} weights are patched{by}; Show Patches (Patchbay) lists them."]
    if with_them:
        notes.append("Figures are for the weights with those patches.")
    elif has_backup(model):
        notes.append("Figures are for the weights before those patches.")
    return notes


def _totals(blocks: dict[str, _Block]) -> tuple[Distance, Shift]:
    distance, shift = Distance(), Shift()
    for block in blocks.values():
        distance, shift = distance + block.distance, shift + block.shift
    return distance, shift


def _comparison_notes(blocks: dict[str, _Block], layers: tuple[PlannedLayer, ...]) -> list[str]:
    distance, shift = _totals(blocks)
    notes = [
        f"{distance.weights} weights were compared: |W_b - W_a| / |W_a|, Frobenius norm, root-sum-square over a block."
    ]
    if shift.layers:
        notes.extend(_shift_sentence(shift))
        notes.append(INDICATOR)
    elif layers:
        notes.append("No layer of the LoRA could be compared; the reasons are listed with the blocks.")
    return notes


def _shift_sentence(shift: Shift) -> Iterator[str]:
    if shift.direction_shift is not None:
        against = "" if shift.excess is None else f", {shift.excess:.3g} times what these weights moved as a whole"
        yield (
            f"The directions that the LoRA edits in {shift.layers} layers moved by {shift.direction_shift:.3g} of what "
            f"they were{against} (indicator)."
        )
    if shift.cosine is not None:
        yield (
            f"Cosine of the LoRA's change and the step from the first model to the second: {shift.cosine:+.4f} "
            "(indicator)."
        )


def _summary(keys: ModelKeys, reports: tuple[ModelBlock, ...], blocks: dict[str, _Block], compared: bool) -> str:
    stored: Counter[str] = Counter()
    for report in reports:
        stored.update(report.dtypes)
    kinds = ", ".join(f"{name} x {count}" for name, count in stored.most_common(6))
    text = f"{keys.summary.architecture}: {sum(r.weights for r in reports)} weights, stored as {kinds}."
    if not compared:
        return text
    distance, _ = _totals(blocks)
    if distance.relative is None:
        return f"{text} The second model could not be compared: {next((r.not_compared for r in reports), '')}."
    return f"{text} The second model's weights differ by {distance.relative:.3g} of their size."
