"""What a loaded model is made of: its keys, shapes and blocks, and the LoRA keys that ComfyUI knows for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import comfy.lora
import comfy.utils
import torch

from ...core.check.verdict import identify_weights
from ...core.lora.adapters.base import Ranges
from ...core.match.model_names import ModelNames
from ...core.match.name_table import Target
from ...core.model.blocks import MODEL_PREFIX, BlockLayout
from ...core.model.facts import collect_facts
from ...core.model.identify import ArchitectureMatch, identify_architecture
from ...core.report.report import BlockGroup, ModelSummary

MOST_LAYERS = 400
"""Layers of one container that a report lists at most."""

_STORAGE_KEYS = frozenset(
    {"comfy_quant", "weight_scale", "weight_scale_2", "input_scale", "scale_weight", "scale_input"}
)


@dataclass(frozen=True)
class ModelKeys:
    """Keys of a diffusion model, and of a text encoder where there is one."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shape of every weight, by its full key."""
    text_encoder_keys: frozenset[str]
    layout: BlockLayout
    key_map: Mapping[str, Target]
    """LoRA key prefix -> model key, as ComfyUI builds it for this very model."""
    summary: ModelSummary

    @property
    def has_text_encoder(self) -> bool:
        """Whether a CLIP is connected."""
        return bool(self.text_encoder_keys)

    @cached_property
    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the diffusion model's own weights, without prefix and without a text encoder's."""
        return {
            key.removeprefix(MODEL_PREFIX): shape
            for key, shape in self.shapes.items()
            if key.startswith(MODEL_PREFIX) and key not in self.text_encoder_keys and not is_storage(key)
        }

    @cached_property
    def names(self) -> ModelNames:
        """Every name under which a file may mean a layer of this model, ComfyUI's key map as the second opinion."""
        return ModelNames(self.shapes, self.architecture.id, self.text_encoder_keys, self.key_map, row_order)

    @cached_property
    def architecture(self) -> ArchitectureMatch:
        """What the diffusion model's own weights say it is."""
        return identify_weights(self.own_shapes)


def read_model_keys(model: Any, clip: Any = None) -> ModelKeys:
    """Collect the keys of ``model`` (a ``ModelPatcher``) and ``clip`` (a ``CLIP``, or ``None``)."""
    state = model.model_state_dict()
    shapes = {key: _true_shape(model, state, key) for key in state}
    key_map: dict[str, Target] = comfy.lora.model_lora_keys_unet(model.model, {})
    text_keys: frozenset[str] = frozenset()
    if clip is not None:
        text_state = clip.cond_stage_model.state_dict()
        shapes.update((key, logical_shape(weight)) for key, weight in text_state.items())
        text_keys = frozenset(text_state)
        key_map = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, key_map)
    layout = BlockLayout(state, text_keys)
    return ModelKeys(shapes, text_keys, layout, key_map, _summarise(model, state, shapes, layout))


def logical_shape(weight: Any) -> tuple[int, ...]:
    """The shape that a patch has to fit, also for packed weights (GGUF keeps it in ``tensor_shape``)."""
    return tuple(getattr(weight, "tensor_shape", weight.shape))


def _true_shape(model: Any, state: Mapping[str, torch.Tensor], key: str) -> tuple[int, ...]:
    """Shape of a weight as a patch meets it: a state dict holds a quantised one packed, two values in a byte."""
    stored = state[key]  # of GGUF's layers: empty, and as long as the packed bytes
    if f"{key.removesuffix('.weight')}.comfy_quant" not in state and not stored.is_meta:
        return logical_shape(stored)
    try:
        return logical_shape(comfy.utils.get_attr(model.model, key))
    except AttributeError:
        return logical_shape(state[key])


def row_order(function: Any, rows: int) -> Ranges | None:
    """The order of rows that a key map's function makes of a weight, or ``None`` if it does anything else."""
    probe = torch.arange(rows, dtype=torch.float32).reshape(-1, 1).repeat(1, 2)
    result = function(probe)
    if result.shape != probe.shape or not torch.equal(result[:, 0], result[:, 1]):
        return None
    order = result[:, 0].long()
    if not torch.equal(order.sort().values, torch.arange(rows)):
        return None
    ranges: list[tuple[int, int]] = []
    for row in order.tolist():
        if ranges and sum(ranges[-1]) == row:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((row, 1))
    return tuple(ranges)


def is_storage(key: str) -> bool:
    """Whether a key is the scale or the format of a quantised weight rather than a weight."""
    return key.rpartition(".")[2] in _STORAGE_KEYS


def _summarise(
    model: Any, state: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]], layout: BlockLayout
) -> ModelSummary:
    model_class = type(model.model).__name__
    config = getattr(getattr(model.model, "model_config", None), "unet_config", None) or {}
    weights = [key for key in state if key.startswith(MODEL_PREFIX) and not is_storage(key)]
    match = _identify({key: shapes[key] for key in weights})
    return ModelSummary(
        architecture=match.name if match.id else model_class,
        model_class=model_class,
        blocks=tuple(BlockGroup(kind, 0, count) for kind, count in layout.kinds.items()),
        weight_count=len(weights),
        parameter_count=sum(_numel(shapes[key]) for key in weights),
        dtype=str(model.model_dtype()).removeprefix("torch."),
        hidden_size=config.get("hidden_size") or config.get("dim") or config.get("model_channels"),
        evidence=match.evidence,
        layers=_matrices(weights, shapes, layout),
    )


def _matrices(
    weights: list[str], shapes: Mapping[str, tuple[int, ...]], layout: BlockLayout
) -> dict[str, tuple[str, ...]]:
    """Paths of the weights of two or more dimensions, by container, each path once, in the model's order."""
    found: dict[str, dict[str, None]] = {}
    for key in weights:
        if len(shapes[key]) >= 2:
            place = layout.place(key)
            found.setdefault(place.block.kind if place.block else place.address, {})[place.layer] = None
    return {kind: tuple(list(layers)[:MOST_LAYERS]) for kind, layers in found.items()}


def _identify(shapes: Mapping[str, tuple[int, ...]]) -> ArchitectureMatch:
    """The architecture by the same table that names files."""
    layers = (
        (key.removeprefix(MODEL_PREFIX).removesuffix(".weight"), *_rows_and_columns(shape))
        for key, shape in shapes.items()
        if not key.endswith(".bias")
    )
    return identify_architecture(collect_facts(layers, whole=True))


def _rows_and_columns(shape: tuple[int, ...]) -> tuple[int | None, int | None]:
    return (shape[0] if shape else None), (shape[1] if len(shape) > 1 else None)


def _numel(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
