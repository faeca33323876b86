"""A plan's patches as layers that can be written: names, tensors, scales and strengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import comfy.lora
import torch

from ...core.bake.layer import WHOLE, BakeLayer, Share
from ...core.bake.plan import factor_suffixes, text_encoder_items
from ...core.bake.whole_weight import Part, on_whole_weight
from ...core.errors import PatchbayError
from ...core.files.tensors import Header, TensorInfo
from ...core.lora.file import LoraLayer, read_lora
from ...core.match.name_table import Target, target_key, target_offset
from ...core.model.blocks import Place
from ...core.model.facts import is_text_encoder_name
from ...core.strengths.text import StrengthTable, parse_block_strengths
from ..apply.lora_cache import LoadedLora
from ..apply.plan import PatchPlan, PlannedPatch
from ..comfyui.model_keys import ModelKeys
from ..match.patch import MatchedPatch
from ..match.roles import Parts
from ..match.writer_adapters import NEUMANN_TERMS
from ..norms.patches import read_weight

KEEP_NAMES, COMFY_NAMES = "as in the file", "ComfyUI's own"

_READABLE = {
    "down": ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_A", "lora_A.default.weight",
             "lora_linear_layer.down.weight", "_lora.down.weight"),
    "up": ("lora_up.weight", "lora_B.weight", "lora.up.weight", "lora_B", "lora_B.default.weight",
           "lora_linear_layer.up.weight", "_lora.up.weight"),
    "diff": ("diff",),
    "diff_b": ("diff_b",),
}  # fmt: skip
"""Ends of keys that ComfyUI's loader reads, for roles that have other spellings too."""


class LayerBuilder:
    """Turns a plan into layers that can be written."""

    def __init__(self, lora: LoadedLora, plan: PatchPlan, keys: ModelKeys, model: Any, clip: Any, names: str) -> None:
        self._lora = lora
        self._plan = plan
        self._keys = keys
        self._patchers = (model, None if clip is None else clip.patcher)
        self._comfy_names = names == COMFY_NAMES
        self._renamed = 0
        self._padded = 0
        self.written: list[tuple[MatchedPatch, ...]] = []
        """The patches behind each of :meth:`layers`, in the same order."""
        self._understood = plan.matched.layers if plan.matched.layers is not None else lora.file.layers
        self._by_key = {key: layer for layer in self._understood for key in layer.keys}
        self._names: dict[Target, list[str]] = {}
        for known, target in keys.key_map.items():
            self._names.setdefault(target, []).append(known)
        self._factor_suffixes = factor_suffixes(lora.tensors)
        self._anonymous = not any(key.startswith(("ss_", "ot_", "modelspec")) for key in lora.header.metadata)

    def layers(self) -> Iterator[BakeLayer]:
        """Every patch that the node would make, strengths included."""
        made: list[tuple[MatchedPatch, BakeLayer]] = []
        of_weight: dict[str, list[PlannedPatch]] = {}
        for planned in self._plan.patches:
            of_weight.setdefault(target_key(planned.target), []).append(planned)
        for patch in self._plan.matched.patches:
            pieces = [
                (target_offset(planned.target), planned.strength)
                for planned in of_weight.get(patch.model_key, ())
                if lies_inside(target_offset(planned.target), patch.offset)
            ]
            if pieces:
                made.append((patch, self._layer(patch, pieces)))
        nameless = {patch.model_key for patch, layer in made if not layer.name}
        met: dict[str, list[tuple[MatchedPatch, BakeLayer]]] = {}
        for patch, layer in made:
            if patch.model_key in nameless and (not layer.name or patch.target == patch.model_key):
                met.setdefault(patch.model_key, []).append((patch, layer))  # of two layers of one name, one would count
            else:
                self.written.append((patch,))
                yield layer
        for key, parts in met.items():
            self.written.append(tuple(patch for patch, _ in parts))
            yield self._on_whole(key, parts)

    def _on_whole(self, key: str, parts: list[tuple[MatchedPatch, BakeLayer]]) -> BakeLayer:
        """Layers of parts of a weight that ComfyUI has no name for, as one layer of the weight."""
        names = self._names.get(key, [])
        sets = next((patch for patch, _ in parts if patch.parts.kind == "set"), None)
        if not names or sets is not None:
            patch = sets or parts[0][0]
            where = f"a part of {key}" if names else key
            raise PatchbayError(
                f"{patch.lora_key}: ComfyUI has no name for {where}, so that its loader could not read it."
            )
        self._padded += len(parts)
        name = next((name for name in names if name.startswith("diffusion_model.")), names[0])
        pieces = [Part(layer, patch.offset, patch.function is None) for patch, layer in parts]
        return on_whole_weight(pieces, name, self._keys.shapes[key])

    def text_encoder_layers(self, strength_clip: float, blocks: str) -> Iterator[BakeLayer]:
        """Layers of a text encoder that is not connected: kept as they are, with the strength of ``te``."""
        if self._keys.has_text_encoder:
            return
        has_layers = any(is_text_encoder_name(layer.name) for layer in self._understood)
        items = text_encoder_items(parse_block_strengths(blocks), has_layers)
        table = StrengthTable(items, self._keys.layout)
        strength = strength_clip * table.strength(Place("", None, "", text_encoder=True))
        for layer in self._understood if strength else ():
            if layer.adapter is None or not is_text_encoder_name(layer.name):
                continue
            tensors = {role: self._lora.tensors[key] for role, key in layer.roles.items() if key in self._lora.tensors}
            suffixes = {r: key[len(layer.name) :] for r, key in layer.roles.items() if key.startswith(layer.name)}
            shape = (layer.out_features or 1, layer.in_features or 1, *layer.kernel)
            yield BakeLayer(
                layer.name, layer.adapter.name, tensors, shape, strength, scale=layer.scale, rank=layer.rank,
                dora=bool(layer.dora), suffixes=suffixes, factor_suffixes=self._factor_suffixes,
            )  # fmt: skip

    def notes(self) -> list[str]:
        """What has to be said about the names."""
        said: list[str] = []
        if self._renamed:
            said.append(f"{self._renamed} layers are written under names that ComfyUI's own loader knows.")
        if self._padded:
            said.append(
                f"{self._padded} layers change a part of a weight that ComfyUI's own loader has no name for: they are "
                "written as changes of the whole weight that leave the rest of it alone."
            )
        return said

    def _layer(self, patch: MatchedPatch, pieces: list[tuple[Any, float]]) -> BakeLayer:
        source = self._source(patch)
        shape = self._shape(patch)
        shares = _shares(pieces, patch.offset, shape)
        kind, tensors, rank = _content(patch, source, self._plan.matched.tensors)
        name, kept = self._name(patch, source, kind)
        self._renamed += name not in ("", source.name)
        # Rows in another order under the writer's own ends of keys would be read as the writer's order once more.
        suffixes = {} if patch.cut else _suffixes(source, kept)
        if kind == "diff_b" and not kept:
            kind, suffixes = "diff", {}
            tensors = {"diff": next(iter(tensors.values()))}
        dora = bool(source.dora)
        if dora and not kept:
            tensors = {**tensors, "dora_scale": _magnitude_for_comfyui(tensors["dora_scale"], shape)}
        return BakeLayer(
            name, kind, tensors, shape, pieces[0][1], shares, _scale(patch.parts, rank), rank, dora, suffixes,
            self._factor_suffixes, _stock_reads(patch, source), self._tied(patch.parts, kind, name != source.name),
            self._delta(patch, source, shape, name),
        )  # fmt: skip

    def _source(self, patch: MatchedPatch) -> LoraLayer:
        """The layer of the file; read anew where ComfyUI's conversion renamed its keys."""
        if patch.source is not None and patch.source.adapter is not None:
            return patch.source
        known = [self._by_key[key] for key in patch.file_keys if key in self._by_key]
        whole, bias = not patch.parts.is_adapter, patch.model_key.endswith(".bias")
        # ComfyUI looks at more tensors of a name than it makes this patch of: factors beside the difference of a bias.
        fitting = [x for x in known if x.adapter is not None and (x.adapter.name in WHOLE) == whole]
        if fitting:
            return next((x for x in fitting if (x.parameter == "bias") == bias), fitting[0])
        held = {key: self._plan.matched.tensors[key] for key in patch.file_keys}
        infos = {key: TensorInfo(key, "F32", tuple(tensor.shape), 0, 0) for key, tensor in held.items()}
        layers = read_lora(Header("converted", 0, "safetensors", infos, {}, loaded=held)).layers
        if not layers or layers[0].adapter is None:
            raise PatchbayError(f"{patch.lora_key}: its format is not understood. Set its block to 0 to leave it out.")
        return layers[0]

    def _shape(self, patch: MatchedPatch) -> tuple[int, ...]:
        shape = self._keys.shapes[patch.model_key]
        if patch.offset is None:
            return shape
        dim, _, length = patch.offset
        return (*shape[:dim], length, *shape[dim + 1 :])

    def _name(self, patch: MatchedPatch, source: LoraLayer, kind: str) -> tuple[str, bool]:
        """A name under which ComfyUI's loader finds this very target (or empty), and whether it is the file's own."""
        target: Target = patch.target
        if kind in ("diff_b", "norm_b", "set_b"):
            whole = f"{patch.model_key.removesuffix('.bias')}.weight"
            target = whole if isinstance(target, str) else (whole, *target[1:])
        own = not patch.cut and source.name in self._keys.key_map and self._keys.key_map[source.name] == target
        if own and not (kind == "diff_b" and not isinstance(target, str)) and not self._comfy_names:
            return source.name, True
        names = self._names.get(patch.target if kind in ("diff_b", "norm_b", "set_b") else target, [])
        native = [name for name in names if name.startswith("diffusion_model.")]
        if native or names:
            return (native or names)[0], False
        return "", False

    def _tied(self, parts: Parts, kind: str, renamed: bool) -> str:
        if parts.options not in ((), (NEUMANN_TERMS,)):
            return "how it is computed is in the adapter_config.json beside its file, which is not copied"
        # Whose OFT it is, and so what its alpha bounds, is told by native names without any tool's metadata.
        bounded = kind in ("oft", "boft") and parts.by_writer
        if bounded and renamed and self._anonymous:
            return "what its alpha means depends on the names of the file, which ComfyUI does not know"
        return ""

    def _delta(self, patch: MatchedPatch, source: LoraLayer, shape: tuple[int, ...], name: str) -> Any:
        patcher = self._patchers[1 if patch.model_key in self._keys.text_encoder_keys else 0]

        named = bool(name)

        def build() -> torch.Tensor:
            if not source.needs_weight:
                return _change(patch, torch.zeros(shape), named)
            weight = read_weight(patcher, patch.model_key, patch.offset)
            if weight is None:
                raise PatchbayError(
                    f"{source.name}: converting it needs the weight {patch.model_key}, which cannot be read from this "
                    "model (it is stored packed or is on no device). Load the model unquantised."
                )
            return _change(patch, weight.to(device="cpu", dtype=torch.float32), named)

        return build


def _change(patch: MatchedPatch, weight: torch.Tensor, named: bool) -> torch.Tensor:
    """What the patch adds at strength 1, in the layout in which ComfyUI's loader expects it under its name.

    Under the name of the whole weight that is the weight's own.
    """
    function = patch.function or (lambda rows: rows)
    change = _made_of(patch, function(weight))
    return change if named else function(change)


def _made_of(patch: MatchedPatch, weight: torch.Tensor) -> torch.Tensor:
    if patch.parts.by_writer:
        return patch.value.delta(weight)
    patched: Any = comfy.lora.calculate_weight([(1.0, patch.value, 1.0, None, None)], weight.clone(), patch.model_key)
    change = patched - weight
    if not bool(change.any()):  # ComfyUI's adapters log a failure and leave the weight alone
        raise PatchbayError(
            f"{patch.lora_key}: ComfyUI could not apply it to {patch.model_key}; the console has the reason. Set its "
            "block to 0 to leave it out."
        )
    return change


def lies_inside(part: tuple[int, int, int] | None, whole: tuple[int, int, int] | None) -> bool:
    if part is None or whole is None:
        return whole is None
    return part[0] == whole[0] and whole[1] <= part[1] and part[1] + part[2] <= whole[1] + whole[2]


def _shares(
    pieces: list[tuple[Any, float]], offset: tuple[int, int, int] | None, shape: tuple[int, ...]
) -> tuple[Share, ...]:
    """Strengths of the parts of a weight without gaps, counted from the layer's own beginning; empty if it is whole."""
    if len(pieces) == 1 and pieces[0][0] == offset:
        return ()
    dim = pieces[0][0][0]
    first = offset[1] if offset is not None else 0
    shares: list[Share] = []
    position = 0
    for (_, start, length), strength in sorted(pieces):
        start -= first
        if start > position:
            shares.append((dim, position, start - position, 0.0))
        shares.append((dim, start, length, strength))
        position = start + length
    if position < shape[dim]:
        shares.append((dim, position, shape[dim] - position, 0.0))
    return tuple(shares)


def _content(
    patch: MatchedPatch, source: LoraLayer, tensors: Mapping[str, torch.Tensor]
) -> tuple[str, dict[str, torch.Tensor], int | None]:
    """Kind, tensors by role and rank of what is written for a patch."""
    assert source.adapter is not None
    if patch.parts.is_adapter:
        held = patch.roles if patch.source is source else {}  # of a layer that goes to several weights, its rows here
        roles = dict(held) or {role: tensors[key] for role, key in source.roles.items()}
        return source.adapter.name, roles, source.rank
    role = str(getattr(source.adapter, "role", "diff"))
    return source.adapter.name, {role: next(iter(patch.parts.tensors.values()))}, None


def _scale(parts: Parts, rank: int | None) -> float:
    """What the product is multiplied with at strength 1, by the patch itself."""
    if parts.by_writer:
        return parts.scale
    return 1.0 if parts.alpha is None or not rank else parts.alpha / rank


def _stock_reads(patch: MatchedPatch, source: LoraLayer) -> bool:
    """Whether ComfyUI's loader, given right names and alpha, computes it as the writer means it."""
    if not patch.parts.by_writer:
        return True
    whole_lokr = source.adapter is not None and source.adapter.name == "lokr" and source.rank is None
    return whole_lokr and not source.dora and not source.kernel


def _suffixes(source: LoraLayer, kept: bool) -> dict[str, str]:
    """Ends of the keys that stay as they are: all that the layer's name allows and that ComfyUI reads."""
    suffixes: dict[str, str] = {}
    for role, key in source.roles.items():
        suffix = key[len(source.name) :]
        known = _READABLE.get(role)
        if suffix.lstrip(".") in known if known is not None else kept:
            suffixes[role] = suffix
    return suffixes if kept else {role: s for role, s in suffixes.items() if s.startswith(".")}


def _magnitude_for_comfyui(magnitude: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A DoRA magnitude in the shape that ComfyUI's loader and LyCORIS use: one value a row as [out, 1...]."""
    if magnitude.numel() == shape[0] and (magnitude.dim() < 2 or magnitude.shape[0] != 1):
        return magnitude.reshape(-1, *[1] * (len(shape) - 1))
    return magnitude
