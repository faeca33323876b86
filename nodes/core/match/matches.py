"""Which tensor of a LoRA goes where in a model, and why not: one answer for the command line and the nodes.

Decided from names and shapes alone, without a tensor. What is all zero, and how much arrives, is found later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from ..errors import AdapterFormatError
from ..files.peek import Peek
from ..lora.adapters.base import Ranges, RowCut
from ..lora.adapters.diff import directed, peft_ia3_dims
from ..lora.dead import UNUSED, has_zero_factor
from ..lora.file import LoraFile, LoraLayer
from ..lora.shared import shared_by
from ..model.facts import is_text_encoder_name
from ..report.report import LayerState
from .model_names import FileNames, Found, ModelNames, Spot
from .name_table import Target, target_key, target_offset
from .readings import DYLORA, NO_SUCH_WEIGHT, Understanding
from .shapes import misfit, slice_shape

NO_CLIP = "no CLIP is connected"
"""Words by which the reason of a text-encoder layer says that there is nothing it could be compared with."""

NO_NAME = "no layer of this model has this name"
ONLY_COMFYUI = "only ComfyUI's own table knows this name"
Takes = Mapping[str, tuple[int, Ranges]]
"""Role to the dimension and the ranges of a tensor that are used; a role that is missing is used whole."""


class Patch(NamedTuple):
    """One weight, or slice of one, that a layer of a file changes."""

    target: Target
    """Key of a key map: the full model key, with a slice and ComfyUI's function where there are any."""
    takes: Takes = MappingProxyType({})
    misfit: str = ""
    """Why the shapes do not go together; empty where they do."""

    @property
    def model_key(self) -> str:
        """The full model key."""
        return target_key(self.target)

    @property
    def offset(self) -> tuple[int, int, int] | None:
        """``(dim, start, length)`` of a fused weight, or ``None``."""
        return target_offset(self.target)


class Match(NamedTuple):
    """What becomes of one layer of a file."""

    layer: LoraLayer
    patches: tuple[Patch, ...] = ()
    """Empty for a miss."""
    state: LayerState = LayerState.APPLIED
    """Of a miss, what it is instead."""
    reason: str = ""
    remark: str = ""
    """What had to be assumed, or how ComfyUI's own table differs."""
    known: bool = False
    """Whether ComfyUI's key map has this very name."""


class Matches(NamedTuple):
    """What becomes of every tensor of a file, for one model."""

    layers: tuple[Match, ...]
    """In the file's order."""


def match_layers(
    file: LoraFile, understood: Understanding, model: ModelNames, shapes: Mapping[str, tuple[int, ...]], has_clip: bool
) -> Matches:
    """Decide for every layer of a file where it goes.

    Args:
        understood: The file's layers with their final scales.
        shapes: Shape of every weight of the model by its full key, a text encoder's too.
        has_clip: Whether a text encoder is at hand.
    """
    shared = None if understood.remarks or model.looks_beyond_layers else shared_by(file, understood.layers)
    asked = (has_clip, _names_dylora(file))
    known = shared.by_model.get(model) if shared is not None else None
    if known is not None and known[0] is shapes and known[1] == asked:
        return known[2]
    names = FileNames(file, understood.layers, model.prefixes)
    found = [model.find(layer, names) for layer in understood.layers]
    matcher = _Matcher(file, understood, shapes, has_clip)
    several = [len(each.spots) > 1 and len({target_key(s.target) for s in each.spots}) > 1 for each in found]
    matches: dict[int, Match] = {}
    for index in sorted(range(len(found)), key=lambda i: not several[i]):  # fused adapters before their parts
        matches[index] = matcher.judge(understood.layers[index], found[index])
    decided = Matches(tuple(matches[index] for index in range(len(found))))
    if shared is not None and not matcher.read_data:
        shared.by_model[model] = shapes, asked, decided
    return decided


def _names_dylora(file: LoraFile) -> bool:
    return "lycoris" in file.header.metadata.get("ss_network_module", "").lower()


def missing(layer: LoraLayer, has_clip: bool) -> Match:
    """A layer of which the model has none of that name."""
    reason = NO_NAME
    if is_text_encoder_name(layer.name):
        reason = f"it belongs to a text encoder, and {NO_CLIP}"
        if has_clip:
            reason = "the connected CLIP has no layer of this name"
    return Match(layer, state=LayerState.NO_SUCH_LAYER, reason=reason)


class _Matcher:
    """Judges the layers of one file one after another."""

    def __init__(
        self, file: LoraFile, understood: Understanding, shapes: Mapping[str, tuple[int, ...]], has_clip: bool
    ) -> None:
        self._file = file
        self._understood = understood
        self._shapes = shapes
        self._has_clip = has_clip
        self._taken: dict[tuple[str, tuple[int, int, int] | None], LoraLayer] = {}
        self._dylora = _names_dylora(file)
        self.read_data = False
        """Whether what was decided depends on numbers in the file's tensors."""

    def judge(self, layer: LoraLayer, found: Found) -> Match:
        """What becomes of one layer."""
        if not found.spots:
            return self._miss(layer, found)
        if layer.adapter is None:
            note = layer.note or "its format is not understood"
            return Match(layer, state=LayerState.NOT_UNDERSTOOD, reason=note, known=found.known)
        known = self._file.header.tensors
        tensors = {role: known[key].shape for role, key in layer.roles.items()}
        targets = [(target_key(spot.target), target_offset(spot.target)) for spot in found.spots]
        refusal = self._refusal(layer, tensors, slice_shape(self._shapes[targets[0][0]], targets[0][1]))
        if refusal:
            return Match(layer, state=LayerState.NOT_UNDERSTOOD, reason=refusal, known=found.known)
        other = next((self._taken[target] for target in targets if target in self._taken), None)
        if other is not None:
            return self._second(layer, other, found)
        self._taken.update(dict.fromkeys(targets, layer))
        try:
            patches = tuple(patch for spot in found.spots for patch in self._patches(layer, tensors, spot))
        except AdapterFormatError as error:
            return Match(layer, state=LayerState.NOT_UNDERSTOOD, reason=str(error), known=found.known)
        assumed = self._understood.remarks.get(layer.name, layer.note if layer.plain else "")
        remarks = (assumed, ONLY_COMFYUI if found.only_second else "")
        remark = "; ".join(text for text in (*remarks, found.difference) if text)
        return Match(layer, patches, remark=remark, known=found.known)

    def _miss(self, layer: LoraLayer, found: Found) -> Match:
        if layer.plain and not is_text_encoder_name(layer.name):
            return Match(layer, state=LayerState.NOT_UNDERSTOOD, reason=NO_SUCH_WEIGHT, known=found.known)
        if found.problem:
            return Match(layer, state=found.state, reason=found.problem, known=found.known)
        if layer.adapter is None and not is_text_encoder_name(layer.name):
            note = layer.note or "its format is not understood"
            return Match(layer, state=LayerState.NOT_UNDERSTOOD, reason=note)
        return missing(layer, self._has_clip)

    def _second(self, layer: LoraLayer, other: LoraLayer, found: Found) -> Match:
        """A layer whose weight another one of the file changes already."""
        # A trainer that fuses q, k and v keeps the modules of the three, unused: their factors are zero.
        reason = f"{other.name} in the same file changes this weight already"
        self.read_data = True
        with Peek(self._file.header) as peek:
            if has_zero_factor(peek, layer):
                return Match(layer, state=LayerState.DEAD, reason=f"{UNUSED}: {reason}", known=found.known)
        return Match(layer, state=LayerState.NOT_UNDERSTOOD, reason=reason, known=found.known)

    def _refusal(self, layer: LoraLayer, tensors: Mapping[str, tuple[int, ...]], weight: tuple[int, ...]) -> str:
        """Why nothing unique can be made of a layer that has a place; empty where it can."""
        if layer.scale_source.startswith("not known"):
            return f"its scale is {layer.scale_source}"
        if layer.format == "dylora" and self._dylora:
            return DYLORA
        if "ia3_l" in tensors and len(peft_ia3_dims(tensors["ia3_l"], weight)) > 1:
            return "it scales rows or columns, and nothing in the file says which"
        return ""

    def _patches(self, layer: LoraLayer, tensors: Mapping[str, tuple[int, ...]], spot: Spot) -> list[Patch]:
        key, offset = target_key(spot.target), target_offset(spot.target)
        weight = self._shapes[key]
        if spot.ranges is None or layer.adapter is None:
            return [Patch(spot.target, misfit=misfit(layer, tensors, weight, offset, self._on_input(layer)))]
        from ..lora.adapters.rows import cut_rows  # many files are never cut

        rows = layer.out_features or sum(count for _, count in spot.ranges)
        stated = directed(tensors, self._on_input(layer))
        cuts = cut_rows(layer.adapter, stated, spot.ranges, rows, layer.dora == "dora_scale")
        return [self._cut(layer, tensors, spot.target, cut, len(cuts) == 1) for cut in cuts]

    def _cut(
        self, layer: LoraLayer, tensors: Mapping[str, tuple[int, ...]], target: Target, cut: RowCut, whole: bool
    ) -> Patch:
        from ..lora.adapters.rows import taken_shape

        key, offset = target_key(target), target_offset(target)
        if not whole:
            offset = (0, cut.start + (offset[1] if offset is not None else 0), cut.rows)
            target = (key, offset)
        shapes = {r: taken_shape(shape, *cut.takes[r]) if r in cut.takes else shape for r, shape in tensors.items()}
        layer = replace(layer, out_features=cut.rows if layer.out_features is not None else None)
        return Patch(target, cut.takes, misfit(layer, shapes, self._shapes[key], offset, self._on_input(layer)))

    def _on_input(self, layer: LoraLayer) -> bool:
        key = layer.roles.get("on_input")
        self.read_data = self.read_data or key is not None
        return key is not None and bool(self._file.header.scalars([key]).get(key))
