"""What the strength editor draws: the blocks of a model or of a LoRA file, the names of their parts, and where the
file's energy lies. Typed for the page in ``js/types/strengths.d.ts``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..check.inspect import inspect_lora
from ..files.tensors import Header
from ..lora.file import LoraFile
from ..lora.file_kinds import identify_lora, identify_model
from ..lora.places import place_layer
from ..model.blocks import OTHER, TEXT_ENCODER, BlockId, BlockLayout, Place
from ..model.slices import fused_slices

SCHEMA, VERSION = "patchbay.blocks", 1
MOST_LAYERS = 40_000
MOST_CONTAINERS = 64
MOST_NAME = 200
"""Limits for files that were made to hurt; real models stay far below."""

_CHECKPOINT_PREFIX = "model.diffusion_model."


@dataclass
class _Block:
    """Layers of one block in file order, with the names of their slices."""

    layers: dict[str, tuple[Place, tuple[tuple[str, ...], ...]]] = field(
        default_factory=dict[str, tuple[Place, tuple[tuple[str, ...], ...]]]
    )

    def add(self, place: Place, shape: tuple[int, ...]) -> None:
        """Add a layer; its weight decides about slices, its bias does not."""
        slices = tuple(part.names for part in fused_slices(place, shape))
        if slices or place.layer not in self.layers:
            self.layers[place.layer] = (place, slices)


class _LayerSets:
    """Distinct sets of layers: the blocks of a container are mostly alike, and go over the wire once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], int] = {}
        self.sets: list[list[dict[str, Any]]] = []

    def number(self, block: _Block) -> int:
        """The number of the block's set of layers."""
        key = tuple((layer, place.parts, slices) for layer, (place, slices) in block.layers.items())
        if key not in self._known:
            self._known[key] = len(self.sets)
            self.sets.append(
                [
                    {"layer": layer, "parts": sorted(place.parts), "slices": [list(names) for names in slices]}
                    for layer, (place, slices) in block.layers.items()
                ]
            )
        return self._known[key]


def describe_layout(layout: BlockLayout, shapes: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, Any]:
    """A layout as the page gets it.

    Args:
        shapes: Key and shape of every weight, of the text encoder's too where there is one.
    """
    groups: dict[tuple[bool, str, int | None], _Block] = {}
    for key, shape in shapes:
        place = layout.place(key)
        name = place.block.kind if place.block else place.encoder
        index = place.block.index if place.block else None
        groups.setdefault((place.text_encoder, name, index), _Block()).add(place, shape)
    sets = _LayerSets()
    te = None
    if layout.has_text_encoder:
        others = [(name, block) for (text, name, index), block in groups.items() if text and index is None]
        te = {
            "known": True,
            "encoders": list(layout.encoders),
            "containers": _containers(groups, sets, text=True),
            "other": [{"encoder": name, "layers": sets.number(block)} for name, block in others],
        }
    other = groups.get((False, "", None))
    return {
        "containers": _containers(groups, sets, text=False),
        "other": sets.number(other) if other else None,
        "te": te,
        "layer_sets": sets.sets,
    }


def model_file_layout(header: Header) -> dict[str, Any]:
    """The blocks of a diffusion model or checkpoint, from its header: before it is loaded."""
    prefix = _CHECKPOINT_PREFIX if any(key.startswith(_CHECKPOINT_PREFIX) for key in header.tensors) else ""
    infos = [(key.removeprefix(prefix), info.shape) for key, info in header.tensors.items() if key.startswith(prefix)]
    infos = [(key, shape) for key, shape in infos if len(key) <= MOST_NAME][:MOST_LAYERS]
    described = describe_layout(BlockLayout(key for key, _ in infos), infos)
    architecture = identify_model(header).architecture
    return _answer("model", architecture.name if architecture else "", described, None, 0)


def lora_file_layout(lora: LoraFile, energy: bool) -> dict[str, Any]:
    """The blocks that a LoRA file names, before any model is known.

    Args:
        energy: Also read the tensors and say how the squared delta norm is shared out.
    """
    architecture = identify_lora(lora).architecture
    arch_id = architecture.id if architecture else ""
    groups: dict[tuple[bool, str, int | None], _Block] = {}
    for layer in lora.layers[:MOST_LAYERS]:
        address, path = place_layer(layer.name, arch_id)
        if not layer.format or len(layer.name) > MOST_NAME:
            continue
        kind, _, index = address.rpartition(".")
        block = BlockId(kind, int(index)) if kind else None
        place = Place(layer.name, block, path, text_encoder=address == TEXT_ENCODER)
        shape = (layer.out_features, layer.in_features) if layer.out_features and layer.in_features else ()
        group = (place.text_encoder, kind, block.index if block else None)
        groups.setdefault(group, _Block()).add(place, shape)
    sets = _LayerSets()
    te, other = groups.get((True, "", None)), groups.get((False, "", None))
    described = {
        "containers": _containers(groups, sets, text=False),
        "other": sets.number(other) if other else None,
        "te": te
        and {"known": False, "encoders": [], "containers": [], "other": [{"encoder": "", "layers": sets.number(te)}]},
        "layer_sets": sets.sets,
    }
    shares, missing = _energy(lora) if energy else (None, 0)
    return _answer("lora", architecture.name if architecture else "", described, shares, missing)


def _containers(
    groups: dict[tuple[bool, str, int | None], _Block], sets: _LayerSets, text: bool
) -> list[dict[str, Any]]:
    found: dict[str, dict[int, _Block]] = {}
    for (of_text, kind, index), block in groups.items():
        if of_text is text and index is not None:
            found.setdefault(kind, {})[index] = block
    return [
        {"kind": kind, "blocks": [{"index": i, "layers": sets.number(blocks[i])} for i in sorted(blocks)]}
        for kind, blocks in list(found.items())[:MOST_CONTAINERS]
    ]


def _energy(lora: LoraFile) -> tuple[dict[str, dict[str, float]], int]:
    """Share of each layer in the file's squared delta norm, by block; and how many layers could not be measured."""
    squares: dict[str, dict[str, float]] = {}
    missing = 0
    for layer in inspect_lora(lora, tensors=True).layers[:MOST_LAYERS]:
        if layer.delta_norm is None:
            missing += 1
            continue
        block = squares.setdefault(layer.block or OTHER, {})
        block[layer.layer[:MOST_NAME]] = block.get(layer.layer[:MOST_NAME], 0.0) + layer.delta_norm**2
    total = math.fsum(value for block in squares.values() for value in block.values())
    if not total or not math.isfinite(total):
        return {}, missing
    return {b: {layer: value / total for layer, value in layers.items()} for b, layers in squares.items()}, missing


def _answer(
    source: str, architecture: str, described: dict[str, Any], energy: dict[str, dict[str, float]] | None, missing: int
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "source": source,
        "architecture": architecture,
        **described,
        "energy": energy,
        "not_measured": missing,
    }
