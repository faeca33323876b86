"""Which layers of several LoRA files change the same weight, and how strongly: decided from their headers alone.

Without a model, layers of one name belong together, and all files must spell names the same way. With one, what
counts is the weight that a layer lands on, whatever the files call it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..check.model_file import ModelFile
from ..check.verdict import find_stranger, identify_weights
from ..errors import IncompatibleModelError, PatchbayError
from ..files.tensors import Header
from ..lora.adapters.rows import taken_shape
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..lora.file_kinds import made_for
from ..match.matches import Patch, Takes, match_layers
from ..match.model_names import ModelNames
from ..match.peft_files import read_adapter_config
from ..match.readings import needs_renaming, understand
from ..match.shapes import slice_shape
from ..model.blocks import MODEL_PREFIX, BlockLayout, Place
from ..model.facts import is_text_encoder_name
from ..model.slices import Offset, fused_slices
from ..strengths.text import BlockStrengths, StrengthTable, parse_block_strengths
from .layer import PRODUCTS, ROTATIONS, Share
from .plan import part_strengths, text_encoder_items, unwritable

if TYPE_CHECKING:
    from torch import Tensor

_NO_TAKES: Takes = {}
_BOUNDED = "its alpha bounds the rotation, and tools differ in how; the node Save LoRA converts such a file"
_IN_CONFIG = "how it is computed is in the adapter_config.json beside its file, which a merged file does not have"


@dataclass(frozen=True)
class MergeSource:
    """One of the files, and how strongly it counts."""

    header: Header
    strength_model: float = 1.0
    strength_clip: float = 1.0
    blocks: str = ""


@dataclass(frozen=True, eq=False)
class MergeModel:
    """The diffusion model that the files are for, from a file or from ComfyUI."""

    name: str
    names: ModelNames
    shapes: Mapping[str, tuple[int, ...]]
    """Of the diffusion model's weights by their full key."""
    layout: BlockLayout
    weight: Callable[[str], Tensor | None] = field(default=lambda key: None, repr=False)
    """The model's own weight by its full key; ``None`` where it cannot be read as numbers."""


@dataclass(frozen=True)
class MergePart:
    """What one layer of one file changes of a weight."""

    source: int
    """Position of its file."""
    layer: LoraLayer
    shapes: Mapping[str, tuple[int, ...]]
    """Of its tensors by role, after ``takes``."""
    strength: float
    """Not a number where ``shares`` says more."""
    shares: tuple[Share, ...] = ()
    model_key: str = ""
    """The full key of the weight that it lands on; empty where no model is at hand."""
    offset: Offset | None = None
    """``(dim, start, length)`` of that weight."""
    takes: Takes = field(default_factory=lambda: _NO_TAKES)
    tied: str = ""
    """Why it means something only beside its own file; empty where it does not."""

    @property
    def counts(self) -> bool:
        """Whether it changes anything."""
        return any(share[3] for share in self.shares) if self.shares else bool(self.strength)


@dataclass(frozen=True)
class Blend:
    """One weight, or one slice that all files name alike, with everything that changes it, in the files' order."""

    name: str
    """Prefix of its keys in the new file."""
    parameter: str
    shape: tuple[int, ...]
    parts: tuple[MergePart, ...]
    offset: Offset | None = None
    """The slice of the weight that ``shape`` is; ``None`` for the whole."""
    own_names: bool = True
    """Whether the name is the files' own, so that their ends of keys stay too."""

    @property
    def model_key(self) -> str:
        """The full key of the weight; empty where no model is at hand."""
        return self.parts[0].model_key


@dataclass(frozen=True)
class MergePlan:
    """What is written, and what is not."""

    files: tuple[LoraFile, ...]
    blends: tuple[Blend, ...]
    left_out: tuple[str, ...]
    """``file: layer: reason``."""
    notes: tuple[str, ...] = ()


def model_of_file(model: ModelFile, weight: Callable[[str], Tensor | None] = lambda key: None) -> MergeModel:
    """The same for a model that was read from a file."""
    return MergeModel(model.name, model.names, model.shapes, model.checked.layout, weight)


def plan_merge(sources: Sequence[MergeSource], model: MergeModel | None = None, native: bool = False) -> MergePlan:
    """Bring the layers of several files together; no tensor is read.

    Args:
        native: Write under the model's own names even where the files agree on others.

    Raises:
        PatchbayError: strengths by block or different spellings without a model, or nothing is left.
        IncompatibleModelError: the files are for different models, or one is not for this model.
        BlockStrengthError: block strengths do not parse or do not fit the model.
    """
    if not sources:
        raise PatchbayError("there is no LoRA to merge; give at least one.")
    files = tuple(read_lora(source.header) for source in sources)
    for source, file in zip(sources, files, strict=True):
        _check_readable(source, file, model)
    _check_one_model(files, model)
    parts: list[MergePart] = []
    left_out: list[str] = []
    for number, (source, file) in enumerate(zip(sources, files, strict=True)):
        gatherer = _Gatherer(number, source, file, model)
        parts.extend(gatherer.parts())
        left_out.extend(f"{source.header.name}: {line}" for line in gatherer.left_out)
    if not parts:
        why = f" For example {left_out[0]}." if left_out else ""
        raise PatchbayError(f"no layer is left to merge: each has strength 0 or does not fit.{why}")
    keep = not native and _names_can_stay(parts)
    if model is None and not keep:
        raise PatchbayError("the files name the layers of one weight differently; give the model that they are for.")
    blends = _by_name(parts, model) if keep else _by_weight(parts, model)
    return MergePlan(files, tuple(blends), tuple(left_out), _notes(keep, blends, model))


def _notes(keep: bool, blends: Sequence[Blend], model: MergeModel | None) -> tuple[str, ...]:
    notes = [] if keep else ["The layers are written under the model's own names."]
    files = {part.source for blend in blends for part in blend.parts}
    if len(files) > 1 and model is None and all(len(blend.parts) == 1 for blend in blends):
        notes.append("The files have no layer of the same name; whether they change the same weights, a model tells.")
    return tuple(notes)


def _check_readable(source: MergeSource, file: LoraFile, model: MergeModel | None) -> None:
    name = source.header.name
    if source.blocks.strip() and model is None:
        raise PatchbayError(f"{name}: strengths by block need the model: its layers define the blocks.")
    if needs_renaming(source.header):
        raise PatchbayError(
            f"{name}: a control LoRA that makes the model's input larger; it has to be applied beside the others."
        )
    if not file.layers:
        raise PatchbayError(f"{name}: holds no layer of a LoRA.")


def _check_one_model(files: Sequence[LoraFile], model: MergeModel | None) -> None:
    """Refuse files for different models."""
    if model is not None:
        own = {key.removeprefix(MODEL_PREFIX): shape for key, shape in model.shapes.items()}
        match = identify_weights(own)
        for file in files:
            stranger = find_stranger(file, own, match)
            if stranger is not None:
                raise IncompatibleModelError(f"{file.header.name}: {stranger.warning}")
        return
    known = [(file, made_for(file)[1]) for file in files]
    known = [(file, match) for file, match in known if match.id]
    for file, match in known[1:]:
        first, other = known[0]
        alike = match.id == other.id or match.id in other.candidates or other.id in match.candidates
        sizes = match.hidden_size and other.hidden_size and match.hidden_size != other.hidden_size
        if not alike or sizes:
            raise IncompatibleModelError(
                f"{first.header.name} is made for {other.name}, {file.header.name} for {match.name}: "
                "no model can use both. Merge files for one model."
            )
    styles = {file.style.id: file for file in files}
    if len(styles) > 1:
        one, two, *_ = styles.values()
        raise PatchbayError(
            f"{one.header.name} spells the layers as {one.style.label}, {two.header.name} as {two.style.label}. "
            "Give the model that they are for, which says what is the same weight."
        )


class _Gatherer:
    """The layers of one file as parts."""

    def __init__(self, number: int, source: MergeSource, file: LoraFile, model: MergeModel | None) -> None:
        self._number = number
        self._source = source
        self._file = file
        self._model = model
        self.left_out: list[str] = []
        self._configured = read_adapter_config(source.header)[0] is not None
        blocks = parse_block_strengths(source.blocks)
        self._table = None if model is None else StrengthTable(blocks, model.layout, _slice_names(model))
        self._text_strength = source.strength_clip * _text_strength(blocks, file, model)

    def parts(self) -> list[MergePart]:
        """Every layer that changes something."""
        understood = understand(self._file)
        products = {x.name for x in understood.layers if x.adapter is not None and x.adapter.name in PRODUCTS}
        landed: list[tuple[tuple[Patch, ...], str]] = [((), "")] * len(understood.layers)
        if self._model is not None:
            matches = match_layers(self._file, understood, self._model.names, self._model.shapes, False).layers
            landed = [(match.patches, match.reason or match.state.value) for match in matches]
        found: list[MergePart] = []
        for layer, (patches, miss) in zip(understood.layers, landed, strict=True):
            reason = unwritable(layer, products)
            if not reason and not is_text_encoder_name(layer.name) and self._model is not None and not patches:
                reason = miss
            if reason:
                self.left_out.append(f"{layer.name}: {reason}")
            else:
                found.extend(part for part in self._of_layer(layer, patches) if part.counts)
        return found

    def _of_layer(self, layer: LoraLayer, patches: tuple[Patch, ...]) -> Iterable[MergePart]:
        part = MergePart(self._number, layer, self._shapes(layer), self._source.strength_model, tied=self._tied(layer))
        if is_text_encoder_name(layer.name):
            yield replace(part, strength=self._text_strength)
            return
        if self._model is None or self._table is None:
            yield part
            return
        for patch in patches:
            if patch.misfit:
                self.left_out.append(f"{layer.name}: {patch.misfit}")
                continue
            place = self._model.layout.place(patch.model_key)
            strength, shares = part_strengths(
                self._table, place, tuple(self._model.shapes[patch.model_key]), patch.offset,
                self._source.strength_model,
            )  # fmt: skip
            yield replace(
                part, shapes=self._shapes(layer, patch.takes), strength=strength, shares=shares,
                model_key=patch.model_key, offset=patch.offset, takes=patch.takes,
            )  # fmt: skip

    def _tied(self, layer: LoraLayer) -> str:
        kind = layer.adapter.name if layer.adapter is not None else ""
        if kind not in ROTATIONS:
            return ""
        if self._configured:
            return _IN_CONFIG
        return _BOUNDED if layer.alpha and layer.adapter is not None and not layer.adapter.scaled_by_alpha else ""

    def _shapes(self, layer: LoraLayer, takes: Takes = _NO_TAKES) -> dict[str, tuple[int, ...]]:
        found = {role: self._source.header.tensors[key].shape for role, key in layer.roles.items()}
        return {role: taken_shape(x, *takes[role]) if role in takes else x for role, x in found.items()}


def _slice_names(model: MergeModel) -> Iterable[tuple[Place, str]]:
    for place in model.layout.places():
        shape = model.shapes.get(place.key) or model.shapes.get(f"{MODEL_PREFIX}{place.key}")
        for part in fused_slices(place, tuple(shape)) if shape is not None else ():
            for name in part.names:
                yield place, name


def _text_strength(blocks: BlockStrengths, file: LoraFile, model: MergeModel | None) -> float:
    items = text_encoder_items(blocks, any(is_text_encoder_name(layer.name) for layer in file.layers))
    if model is None:
        return 1.0
    return StrengthTable(items, model.layout).strength(Place("", None, "", text_encoder=True))


# --- which parts belong together ------------------------------------------------------------------------


def _names_can_stay(parts: Sequence[MergePart]) -> bool:
    """Whether every name of the files means one whole layer, and every weight has one name."""
    meant: dict[tuple[str, str], object] = {}
    named: dict[object, str] = {}
    seen: set[tuple[int, str, str, str]] = set()
    for part in parts:
        layer = part.layer
        own = (part.source, layer.name, layer.parameter, layer.format)
        if part.takes or own in seen:
            return False
        seen.add(own)
        if part.model_key:
            spot = (part.model_key, part.offset, layer.parameter)
            if meant.setdefault((layer.name, layer.parameter), spot) != spot:
                return False
            if named.setdefault(spot, layer.name) != layer.name:
                return False
    return True


def _by_name(parts: Sequence[MergePart], model: MergeModel | None) -> list[Blend]:
    groups: dict[tuple[str, str], list[MergePart]] = {}
    for part in parts:
        groups.setdefault((part.layer.name, part.layer.parameter), []).append(part)
    return [_named(name, parameter, members, model) for (name, parameter), members in groups.items()]


def _named(name: str, parameter: str, members: list[MergePart], model: MergeModel | None) -> Blend:
    first = members[0]
    if model is not None and first.model_key:
        shape = slice_shape(tuple(model.shapes[first.model_key]), first.offset)
        return Blend(name, parameter, shape, tuple(members), first.offset)
    shapes = {own_shape(part.layer): part for part in members}
    whole = {shape: part for shape, part in shapes.items() if 1 not in shape[:1]} or shapes
    if len(whole) > 1:
        (one, a), (two, b), *_ = whole.items()
        raise IncompatibleModelError(
            f"{name}: file {a.source + 1} changes a weight of shape {list(one)}, file {b.source + 1} one of "
            f"{list(two)}: the files are for different models."
        )
    return Blend(name, parameter, next(iter(whole)), tuple(members))


def own_shape(layer: LoraLayer) -> tuple[int, ...]:
    """The shape that a layer changes, as far as its tensors say; unknown sides are 1."""
    if layer.parameter == "bias" or layer.in_features is None:
        return (layer.out_features or 1,)
    return (layer.out_features or 1, layer.in_features, *layer.kernel)


def _by_weight(parts: Sequence[MergePart], model: MergeModel | None) -> list[Blend]:
    """All slices of a weight together under ComfyUI's own name of it; text encoder layers by their names."""
    assert model is not None
    groups: dict[str, list[MergePart]] = {}
    text: list[MergePart] = []
    for part in parts:
        if part.model_key:
            groups.setdefault(part.model_key, []).append(part)
        else:
            text.append(part)
    made = []
    for key, members in groups.items():
        parameter = "bias" if key.endswith(".bias") else "weight"
        name = key.removesuffix(f".{parameter}")
        made.append(Blend(name, parameter, tuple(model.shapes[key]), tuple(members), own_names=False))
    return [*made, *_by_name(text, None)]
