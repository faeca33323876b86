"""Apply a LoRA to a model, block by block, and say what became of every tensor of the file."""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import BlockStrengthError
from ...core.lora.file import LoraLayer
from ...core.match.matches import Match, missing
from ...core.match.name_table import Target, target_key
from ...core.match.peft_files import config_stamp
from ...core.model.blocks import Place
from ...core.model.slices import WeightSlice, fused_slices, overlap
from ...core.report.report import LayerReport, LayerState
from ...core.strengths.text import StrengthTable, parse_block_strengths
from ..bypass.proof import attach_proof
from ..comfyui.model_keys import ModelKeys, read_model_keys
from ..match.as_meant import match_lora
from ..match.patch import MatchedPatch
from ..match.roles import PatchValue
from ..match.stock import MatchedFile, match_file
from ..norms.later import leave_for_later, measure_products
from ..restage.restaging import attach_restaging
from .lora_cache import LoadedLora
from .own_parameters import patch_own_parameters

ATTACHMENT = "lora_patchbay"
"""Key of our record on a patcher: which LoRA each patch object belongs to. ``clone()`` carries it along."""


@dataclass(frozen=True)
class OwnedPatch:
    """Which LoRA a patch object came from. Holding the object keeps its identity from being reused."""

    value: PatchValue
    owner: str
    lora_key: str


@dataclass(frozen=True)
class PlannedPatch:
    """One patch as it will be handed to ``add_patches``."""

    patch: MatchedPatch
    strength: float
    """Overall strength times block strength; never 0."""
    text_encoder: bool

    @property
    def target(self) -> Target:
        """Key for ``add_patches``."""
        return self.patch.target

    @property
    def value(self) -> PatchValue:
        """The patch as ComfyUI takes it."""
        return self.patch.value


@dataclass(frozen=True)
class PlannedLayer:
    """The fate of one layer (or of one slice of it), with the patch that was made of it, if one was."""

    report: LayerReport
    patch: MatchedPatch | None
    source: LoraLayer | None = None
    """The layer of the file, where it is known."""


@dataclass(frozen=True)
class PatchPlan:
    """What will be asked of the patchers, and the fate of every layer of the file."""

    patches: tuple[PlannedPatch, ...]
    layers: tuple[PlannedLayer, ...]
    matched: MatchedFile


class MatchCache:
    """A file's patches for a model, kept while both live: a changed strength converts nothing again."""

    def __init__(self) -> None:
        self._keys: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[Any, ModelKeys]]
        self._keys = weakref.WeakKeyDictionary()
        self._matches: weakref.WeakKeyDictionary[LoadedLora, list[tuple[Any, Any, MatchedFile]]]
        self._matches = weakref.WeakKeyDictionary()

    def model_keys(self, model: Any, clip: Any) -> ModelKeys:
        """Keys of the model and CLIP, read once for each pair of loaded models, and dropped with either of them."""
        known = self._keys.setdefault(model.model, weakref.WeakKeyDictionary())
        text_model = model.model if clip is None else clip.cond_stage_model
        if text_model not in known:
            known[text_model] = read_model_keys(model, clip)
        return known[text_model]

    def known_keys(self, model: Any) -> ModelKeys | None:
        """Keys of the model, with whichever CLIP, where somebody read them already."""
        known = self._keys.get(model.model)
        return next(iter(known.values()), None) if known else None

    def match(self, lora: LoadedLora, keys: ModelKeys, as_stock: bool = False) -> MatchedFile:
        """The file's patches for the model behind ``keys``, as its writer meant them or as ComfyUI makes them."""
        known = [entry for entry in self._matches.setdefault(lora, []) if entry[0]() is not None]
        self._matches[lora] = known
        variant = "stock" if as_stock else config_stamp(lora.header.path)
        for reference, of_variant, matched in known:
            if reference() is keys and of_variant == variant:
                return matched
        matched = match_file(lora.tensors, keys) if as_stock else match_lora(lora.file, lora.tensors, keys)
        known.append((weakref.ref(keys), variant, matched))
        return matched


MATCHES = MatchCache()
"""Shared by all nodes."""


def plan_patches(
    lora: LoadedLora,
    keys: ModelKeys,
    strength_model: float,
    strength_clip: float,
    blocks: str,
    as_stock: bool = False,
    sizes_later: bool = False,
) -> PatchPlan:
    """Decide for every layer of the file what becomes of it.

    Args:
        as_stock: Make the patches that ComfyUI's own loader makes, also where the file's writer meant others.
        sizes_later: Leave the sizes of a large file's patches for when somebody looks.

    Raises:
        BlockStrengthError: ``blocks`` does not parse, names nothing in this model, or wants to split an adapter that
            cannot be split.
    """
    table = StrengthTable(parse_block_strengths(blocks), keys.layout, slice_names(keys))
    matched = MATCHES.match(lora, keys, as_stock)
    placed = [patch for patch in matched.patches if patch.model_key in keys.shapes]
    if not (sizes_later and leave_for_later(placed)):
        shares = (piece for patch in placed for piece in patch.found.pieces.values())
        # A layer that has a size need not be searched for a number that is not zero.
        measure_products([*placed, *shares])
    planner = _Planner(lora, matched, keys, table, strength_model, strength_clip, as_stock)
    for patch in matched.patches:
        planner.add(patch)
    return planner.finish()


def slice_names(keys: ModelKeys) -> Iterable[tuple[Place, str]]:
    """Every named slice of a fused weight, with its place."""
    for key, shape in keys.shapes.items():
        place = keys.layout.place(key)
        for part in fused_slices(place, shape):
            for name in part.names:
                yield place, name


class _Planner:
    """Collects the plan of one file."""

    def __init__(
        self,
        lora: LoadedLora,
        matched: MatchedFile,
        keys: ModelKeys,
        table: StrengthTable,
        strength_model: float,
        strength_clip: float,
        as_stock: bool,
    ) -> None:
        self._as_stock = as_stock
        self._matched = matched
        self._keys = keys
        self._table = table
        self._strengths = (strength_model, strength_clip)
        self._lora = lora
        self._file_layers = lora.file.layers if matched.layers is None else matched.layers
        self._by_tensor = {key: layer for layer in self._file_layers for key in layer.keys}
        self._patches: list[PlannedPatch] = []
        self._layers: list[PlannedLayer] = []
        self._used: set[str] = set()

    def add(self, patch: MatchedPatch) -> None:
        """Judge one patch of the file."""
        source = patch.source
        if source is None:
            source = next((self._by_tensor[key] for key in patch.file_keys if key in self._by_tensor), None)
        self._used.update(patch.file_keys)
        layer = self._describe(patch, source)
        shape = self._keys.shapes.get(patch.model_key)
        if shape is None:
            reason = f"the model has no {patch.model_key}"
            return self._note(layer.changed(state=LayerState.NO_SUCH_LAYER, reason=reason), patch)
        problem = patch.problem(shape)
        state, reason = LayerState.SHAPE_MISMATCH, problem
        if problem and source is not None and source.adapter is None:  # it would fit no other model either
            state, reason = LayerState.NOT_UNDERSTOOD, source.note or problem
        if not problem and patch.dead:
            state, reason = LayerState.DEAD, "all zero in the file: it changes nothing"
        if reason:
            if patch.value is None:
                return self._layers.append(PlannedLayer(layer.changed(state=state, reason=reason), None, source))
            if self._as_stock:  # ComfyUI hands such patches on, and a quantised weight is then quantised again
                self._hand_over(patch)
            return self._note(layer.changed(state=state, reason=reason), patch)
        for piece, block_strength in self._split(patch, shape):
            self._ask(patch, layer if piece is patch else layer.changed(slice=piece.offset), piece, block_strength)

    def finish(self) -> PatchPlan:
        """Add the layers that nothing took, and return the plan."""
        misses = self._matched.misses
        if misses is None:  # nobody judged them: the stock loader just leaves them out
            misses = tuple(self._left_out(x) for x in self._file_layers if self._used.isdisjoint(x.keys))
        self._layers += [PlannedLayer(self._missed(miss), None, miss.layer) for miss in misses]
        order = {str(block): index for index, block in enumerate(self._keys.layout.blocks)}
        ranked = sorted(self._layers, key=lambda layer: order.get(layer.report.block, len(order)))
        return PatchPlan(tuple(self._patches), tuple(ranked), self._matched)

    def _describe(self, patch: MatchedPatch, source: LoraLayer | None) -> LayerReport:
        place = self._keys.layout.place(patch.model_key)
        return LayerReport(
            state=LayerState.APPLIED,
            lora_key=source.name if source is not None else patch.lora_key,
            model_key=patch.model_key,
            block=place.address,
            layer=place.layer,
            slice=patch.offset,
            format=source.format if source is not None else "",
            rank=source.rank if source is not None else None,
            alpha=source.alpha if source is not None else None,
            scale=source.scale if source is not None else None,
            scale_source=source.scale_source if source is not None else "",
            owner=self._lora.name,
        )

    def _hand_over(self, patch: MatchedPatch) -> None:
        text_encoder = patch.model_key in self._keys.text_encoder_keys
        strength = self._strengths[1] if text_encoder else self._strengths[0]
        strength *= self._table.strength(self._keys.layout.place(patch.model_key))
        if strength != 0:
            self._patches.append(PlannedPatch(patch, strength, text_encoder))

    def _ask(self, patch: MatchedPatch, layer: LayerReport, piece: MatchedPatch, block_strength: float) -> None:
        text_encoder = layer.model_key in self._keys.text_encoder_keys
        overall = self._strengths[1] if text_encoder else self._strengths[0]
        strength = overall * block_strength
        state, reason = LayerState.APPLIED, ""
        if strength == 0:
            which = "the block's strength is 0" if overall else "the overall strength is 0"
            state, reason = LayerState.SKIPPED, which
        else:
            self._patches.append(PlannedPatch(piece, strength, text_encoder))
            reason = patch.comment(strength)
        self._note(layer.changed(strength=strength, block_strength=block_strength, state=state, reason=reason), piece)

    def _note(self, layer: LayerReport, patch: MatchedPatch) -> None:
        self._layers.append(PlannedLayer(layer, patch))

    def _split(self, patch: MatchedPatch, shape: tuple[int, ...]) -> list[tuple[MatchedPatch, float]]:
        """The patch whole, or cut where the strengths of a fused weight's slices differ."""
        if self._table.is_uniform_one:
            return [(patch, 1.0)]
        place = self._keys.layout.place(patch.model_key)
        parts = [(part, overlap(part.offset, patch.offset)) for part in fused_slices(place, shape)]
        cuts = [(part, offset, self._table.strength(place, part.names)) for part, offset in parts if offset]
        strengths = {strength for _, _, strength in cuts}
        if len(strengths) <= 1:
            strength = strengths.pop() if strengths else self._table.strength(place)
            return [(patch, strength)]
        return [(_piece(patch, part, offset), strength) for part, offset, strength in cuts]

    def _left_out(self, layer: LoraLayer) -> Match:
        """What a layer is that ComfyUI's own loader makes nothing of."""
        failed = next((self._matched.failed[key] for key in layer.keys if key in self._matched.failed), "")
        if not layer.format:
            return Match(layer, state=LayerState.NOT_UNDERSTOOD, reason=layer.note or "its format is not understood")
        if failed:
            return Match(layer, state=LayerState.NOT_UNDERSTOOD, reason=failed)
        return missing(layer, self._keys.has_text_encoder)

    def _missed(self, miss: Match) -> LayerReport:
        layer = miss.layer
        return LayerReport(
            state=miss.state,
            reason=miss.reason,
            lora_key=layer.name,
            format=layer.format,
            rank=layer.rank,
            alpha=layer.alpha,
            scale=layer.scale,
            scale_source=layer.scale_source,
            owner=self._lora.name,
        )


def _piece(patch: MatchedPatch, part: WeightSlice, offset: tuple[int, int, int]) -> MatchedPatch:
    """The share of a patch that lies in a slice of its weight."""
    piece = patch.piece(offset)
    if piece is None:
        raise BlockStrengthError(
            f'block strengths: "{"/".join(part.names)}" is only a part of {patch.model_key}, and the file changes '
            f"that weight with one {patch.parts.format} that cannot be cut. Give the parts of this layer one strength."
        )
    return piece


def apply_plan(plan: PatchPlan, model: Any, clip: Any, owner: str) -> tuple[Any, Any]:
    """Clone ``model`` and ``clip`` and add the planned patches, one call for each distinct strength.

    A plan without patches leaves ``patches_uuid`` as it is, so that nothing is loaded again.
    """
    new_model = model.clone()
    new_clip = None if clip is None else clip.clone()
    on_model = [p for p in plan.patches if not p.text_encoder]
    _add(new_model, on_model, owner)
    attach_restaging(new_model)
    attach_proof(new_model)
    if new_clip is not None:
        _add(new_clip.patcher, [p for p in plan.patches if p.text_encoder], owner)
    return new_model, new_clip


def _add(patcher: Any, patches: list[PlannedPatch], owner: str) -> None:
    groups: dict[tuple[float, int], dict[Target, PatchValue]] = {}
    met: Counter[tuple[float, Target]] = Counter()
    for patch in patches:
        key = (patch.strength, patch.target)
        # Twice the same slice: a file that changes a fused weight whole and its slice once more, cut by strengths.
        groups.setdefault((patch.strength, met[key]), {})[patch.target] = patch.value
        met[key] += 1
    for (strength, _), group in groups.items():
        added = patcher.add_patches(group, strength)
        missing = set(map(str, group)) - set(map(str, added))
        if missing:
            logging.warning("LoRA Patchbay: %s: ComfyUI did not take %s", owner, ", ".join(sorted(missing)))
    patch_own_parameters(patcher, {target_key(patch.target) for patch in patches})
    if patches:
        owned = tuple(OwnedPatch(patch.value, owner, "") for patch in patches)
        patcher.set_attachments(ATTACHMENT, (*owned_patches(patcher), *owned))


def owned_patches(patcher: Any) -> tuple[OwnedPatch, ...]:
    """Our record of who made which patch on this patcher."""
    return tuple(patcher.get_attachment(ATTACHMENT) or ())


def owners_by_identity(patcher: Any) -> Mapping[int, OwnedPatch]:
    """The same by ``id`` of the patch object."""
    return {id(patch.value): patch for patch in owned_patches(patcher)}
