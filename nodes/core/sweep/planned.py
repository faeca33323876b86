"""The units of a LoRA on a model that runs elsewhere, from what Apply LoRA reported there (the JSON of its report)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..model.blocks import OTHER, TEXT_ENCODER, BlockLayout, Place
from ..model.slices import overlap
from ..report.report import LayerState
from .units import Unit, units_of_places

Layer = Mapping[str, Any]


def units_of_report(report: Mapping[str, Any], grouping: str, text_encoder: bool) -> tuple[Unit, ...]:
    """The units that hold what was applied, in the model's order; text encoders last, each whole.

    Args:
        grouping: One of ``UNITS`` but ``own groups``.
        text_encoder: Whether the text encoders' layers count.
    """
    applied = _applied(report)
    of_model = [layer for layer in applied if layer["block"] != TEXT_ENCODER]
    layout = _layout(report, of_model)
    shapes = _whole_shapes(of_model)
    places: Iterable[tuple[Place, tuple[int, ...]]] = ((layout.place(key), shape) for key, shape in shapes.items())
    found = units_of_places(places, grouping, layout.kinds)
    if not text_encoder:
        return found
    keys = (layer["model_key"] for layer in applied if layer["block"] == TEXT_ENCODER)
    encoders = sorted({key.partition(".")[0] for key in keys})
    names = [TEXT_ENCODER] if len(encoders) == 1 else [f"{TEXT_ENCODER}.{encoder}" for encoder in encoders]
    return (*found, *(Unit(name, (name,)) for name in names))


def with_layers(
    units: Sequence[Unit], report: Mapping[str, Any], told_apart: Mapping[str, Any], tags: Mapping[float, int]
) -> tuple[Unit, ...]:
    """Count each unit's layers and share out the squared norm of what is applied.

    Args:
        report: Of the LoRA as the workflow applies it.
        told_apart: Of the same LoRA with the strengths of :func:`.units.tagged`, which say which unit a layer is in.
        tags: The unit of each strength.
    """
    plain: dict[tuple[str, str], list[Layer]] = {}
    for layer in _applied(report):
        plain.setdefault((layer["lora_key"], layer["model_key"]), []).append(layer)
    members: list[set[str]] = [set() for _ in units]
    squares = [0.0 for _ in units]
    known = True
    for layer in _applied(told_apart):
        index = tags.get(layer["block_strength"])
        same = plain.get((layer["lora_key"], layer["model_key"]), ())
        strengths = [each["strength"] for each in same if _meet(each, layer)]
        if index is None or not strengths:
            continue
        members[index].add(layer["lora_key"])
        norm = layer["delta_norm"]
        known = known and norm is not None
        squares[index] += (strengths[0] * (norm or 0.0)) ** 2
    total = math.fsum(squares)
    return tuple(
        replace(unit, layers=len(members[i]), energy=squares[i] / total if known and total else None)
        for i, unit in enumerate(units)
    )


def _applied(report: Mapping[str, Any]) -> list[Layer]:
    return [layer for layer in report["layers"] if layer["state"] == LayerState.APPLIED.value and layer["model_key"]]


def _meet(a: Layer, b: Layer) -> bool:
    """Whether two layers of one weight have a slice in common; strengths may cut a weight where the file does not."""
    return not a["slice"] or not b["slice"] or overlap(tuple(a["slice"]), tuple(b["slice"])) is not None


def _layout(report: Mapping[str, Any], applied: Iterable[Layer]) -> BlockLayout:
    """The model's containers as the report lists them, with the names of the layers inside, which tell streams."""
    model = report["model"] or {}
    paths: Mapping[str, Sequence[str]] = model.get("layers") or {}
    keys = [
        f"{group['kind']}.{group['first'] + number}.{path}.weight"
        for group in model.get("blocks") or ()
        for number in range(group["count"])
        for path in paths.get(group["kind"], ())
    ]
    keys += [f"{path}.weight" for path in paths.get(OTHER, ())]
    return BlockLayout([*keys, *(layer["model_key"] for layer in applied)])


def _whole_shapes(applied: Iterable[Layer]) -> dict[str, tuple[int, ...]]:
    """By model key: the shape of the weight. Of one that is patched in slices alone, as far as the slices go."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in applied:
        key: str = layer["model_key"]
        shape: tuple[int, ...] = tuple(layer["shape"] or ())
        before = shapes.get(key, ())
        if layer["slice"] and shape:
            along, start, length = layer["slice"]
            shape = (*shape[:along], start + length, *shape[along + 1 :])
        same = len(before) == len(shape)
        shapes[key] = tuple(max(side, before[dim]) for dim, side in enumerate(shape)) if same else shape
    return shapes
