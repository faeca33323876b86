"""The layers of a LoRA file with their strengths, ready to be baked, from files alone (without ComfyUI)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..check.files import check_lora_file
from ..check.model_file import ModelFile
from ..errors import HeaderError, PatchbayError
from ..files.tensors import Header
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..match.readings import understand
from ..model.blocks import TEXT_ENCODER, Place
from ..model.facts import is_text_encoder_name
from ..model.slices import Offset, fused_slices, overlap
from ..report.report import LayerReport, LayerState
from ..strengths.text import ALL, BlockStrengths, StrengthTable, parse_block_strengths
from .layer import PRODUCTS, BakeLayer, Share

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BakePlan:
    """What is written, and what is not."""

    layers: tuple[BakeLayer, ...]
    left_out: tuple[str, ...]
    """One sentence a layer."""


def plan_bake(
    header: Header,
    model: ModelFile | None = None,
    strength_model: float = 1.0,
    strength_clip: float = 1.0,
    blocks: str = "",
) -> BakePlan:
    """Decide for every layer of the file behind ``header`` what becomes of it; reads its tensors.

    Args:
        model: Whose blocks ``blocks`` speaks of; without it only overall strengths can be baked.

    Raises:
        PatchbayError: strengths by block without a model.
        BlockStrengthError: ``blocks`` does not parse or does not fit the model.
        HeaderError: the file holds no tensors that can be read.
    """
    if blocks.strip() and model is None:
        raise PatchbayError("strengths by block need --model: its layers define the blocks.")
    file = read_lora(header)
    planner = _Planner(file, model, strength_model, strength_clip, parse_block_strengths(blocks))
    return planner.plan(read_tensors(header))


class _Planner:
    """Goes through the layers of one file."""

    def __init__(
        self,
        file: LoraFile,
        model: ModelFile | None,
        strength_model: float,
        strength_clip: float,
        blocks: BlockStrengths,
    ) -> None:
        self._file = file
        self._model = model
        self._strengths = (strength_model, strength_clip)
        self._text = StrengthTable(_text_encoder_items(blocks, file), model.checked.layout) if model else None
        self._table = StrengthTable(blocks, model.checked.layout, _slice_names(model)) if model else None
        self._fates: dict[tuple[str, str], LayerReport] = {}
        if model is not None:
            reports = check_lora_file(file, model).report.layers
            self._fates = {(report.lora_key, report.format): report for report in reports}

    def plan(self, tensors: Mapping[str, Tensor]) -> BakePlan:
        made: list[BakeLayer] = []
        left_out: list[str] = []
        layers = understand(self._file).layers
        products = {x.name for x in layers if x.adapter is not None and x.adapter.name in PRODUCTS}
        for layer in layers:
            reason = self._reason(layer, products)
            if reason:
                left_out.append(f"{layer.name}: {reason}")
                continue
            baked = self._layer(layer, tensors)
            if any(share[3] for share in baked.shares) if baked.shares else baked.strength:
                made.append(baked)
            else:
                left_out.append(f"{layer.name}: its strength is 0")
        return BakePlan(tuple(made), tuple(left_out))

    def _reason(self, layer: LoraLayer, products: set[str]) -> str:
        """Why a layer cannot be written; empty where it can."""
        reason = unwritable(layer, products)
        if reason:
            return reason
        fate = self._fates.get((layer.name, layer.format))
        if fate is None or fate.state is LayerState.APPLIED or is_text_encoder_name(layer.name):
            return ""
        return fate.reason

    def _layer(self, layer: LoraLayer, tensors: Mapping[str, Tensor]) -> BakeLayer:
        assert layer.adapter is not None
        held = {role: tensors[key] for role, key in layer.roles.items()}
        suffixes = {role: key[len(layer.name) :] for role, key in layer.roles.items() if key.startswith(layer.name)}
        strength, shares, shape = self._strength(layer)
        made = BakeLayer(
            layer.name, layer.adapter.name, held, shape, strength, shares, layer.scale, layer.rank, bool(layer.dora),
            suffixes, _factor_suffixes(self._file),
        )  # fmt: skip
        if layer.needs_weight:
            return made
        adapter = layer.adapter
        plain = {role: tensor for role, tensor in held.items() if role != "alpha"}
        return replace(made, delta=lambda: adapter.delta(plain, layer.scale))

    def _strength(self, layer: LoraLayer) -> tuple[float, tuple[Share, ...], tuple[int, ...]]:
        """Overall times block strength, the strengths of parts where they differ, and the shape that is changed."""
        shape = (layer.out_features or 1, layer.in_features or 1, *layer.kernel)
        if is_text_encoder_name(layer.name):
            place = Place("", None, "", text_encoder=True)
            return self._strengths[1] * (self._text.strength(place) if self._text else 1.0), (), shape
        fate = self._fates.get((layer.name, layer.format))
        if fate is None or self._model is None or self._table is None or not fate.model_key:
            return self._strengths[0], (), shape
        place, whole = self._model.places[fate.model_key], self._model.shapes[fate.model_key]
        strength, shares = part_strengths(self._table, place, whole, fate.slice, self._strengths[0])
        return strength, shares, fate.shape or shape


def unwritable(layer: LoraLayer, products: set[str]) -> str:
    """Why a layer cannot be written from its file alone; empty where it can.

    Args:
        products: Names of the layers of the file that are products of factors.
    """
    if layer.adapter is None:
        return layer.note or "its format is not understood"
    if layer.scale_source.startswith("not known"):
        return f"its scale is {layer.scale_source}"
    if layer.format == "dylora":
        return "DyLoRA does not say which of its ranks are meant"
    if layer.name in products and layer.parameter == "bias":
        return "the bias of a LoRA is scaled with it; use the node Save LoRA for this file"
    return ""


def part_strengths(
    table: StrengthTable, place: Place, whole: tuple[int, ...], offset: Offset | None, overall: float
) -> tuple[float, tuple[Share, ...]]:
    """``overall`` times the block strength of a weight or of its slice ``offset``; by parts where they differ.

    Args:
        whole: Shape of the weight.

    Returns:
        The strength (not a number where parts differ) and the shares, counted from the slice's own beginning.
    """
    parts = [(part, overlap(part.offset, offset)) for part in fused_slices(place, whole)]
    cuts = [(part_offset, overall * table.strength(place, part.names)) for part, part_offset in parts if part_offset]
    if len({strength for _, strength in cuts}) <= 1:
        return (cuts[0][1] if cuts else overall * table.strength(place)), ()
    first = offset[1] if offset is not None else 0
    return math.nan, tuple((dim, start - first, length, strength) for (dim, start, length), strength in cuts)


def _slice_names(model: ModelFile) -> Iterable[tuple[Place, str]]:
    for place in model.checked.layout.places():
        for part in fused_slices(place, model.checked.shapes[place.key]):
            for name in part.names:
                yield place, name


def _text_encoder_items(blocks: BlockStrengths, file: LoraFile) -> BlockStrengths:
    return text_encoder_items(blocks, any(is_text_encoder_name(layer.name) for layer in file.layers))


def text_encoder_items(blocks: BlockStrengths, has_layers: bool) -> BlockStrengths:
    """The items that speak of a whole text encoder, for files without one at hand.

    Raises:
        PatchbayError: an item speaks of a part of it, and the file has such layers.
    """
    plain = tuple(x for x in blocks.items if x.path in ((ALL,), (TEXT_ENCODER,)) and x.first is None and not x.part)
    parts = [x for x in blocks.items if x.path[0] == TEXT_ENCODER and x not in plain]
    if parts and has_layers:
        raise PatchbayError(
            f'block strengths: "{parts[0]}" names a part of the text encoder, which is not connected. Connect the '
            "CLIP to Save LoRA, or give the whole of it one strength with te."
        )
    return BlockStrengths(plain)


def _factor_suffixes(file: LoraFile) -> tuple[str, str]:
    return factor_suffixes(file.header.tensors)


def factor_suffixes(keys: Iterable[str]) -> tuple[str, str]:
    """Ends of the keys of new LoRA layers: as PEFT spells them where the file does."""
    if any(key.endswith((".lora_A.weight", ".lora_A", ".lora_A.default.weight")) for key in keys):
        return ".lora_B.weight", ".lora_A.weight"
    return ".lora_up.weight", ".lora_down.weight"


def read_tensors(header: Header) -> Mapping[str, Tensor]:
    if header.loaded is not None:
        return header.loaded
    if header.container != "safetensors" or header.path is None:
        raise HeaderError(f"{header.name}: only safetensors files and PyTorch pickles can be baked.")
    from safetensors.torch import load_file

    return load_file(header.path)
