"""The patches of a file as its writer meant them: ComfyUI's own wherever they are right, ours where they are not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import comfy.lora
import torch
from comfy.weight_adapter import WeightAdapterBase

from ...core.lora.adapters.rows import take
from ...core.lora.file import LoraFile, LoraLayer, read_lora
from ...core.match.matches import Match, Patch, match_layers
from ...core.match.name_table import Target, target_function, target_key, target_offset
from ...core.match.readings import Understanding, as_loaded, needs_renaming, understand
from ...core.report.report import LayerState
from ..comfyui.model_keys import ModelKeys
from .patch import MatchedPatch
from .roles import PRODUCTS, PatchValue, patch_tensors, read_parts
from .stock import MatchedFile, match_file
from .writer_adapters import PEFT_OFT, LinearBoft, LinearOft, writer_adapter

_SUFFIX = {
    "down": "lora_down.weight", "up": "lora_up.weight", "mid": "lora_mid.weight", "reshape": "reshape_weight",
    "a1": "a1.weight", "a2": "a2.weight", "b1": "b1.weight", "b2": "b2.weight",
}  # fmt: skip
"""Role to the end of the key that ComfyUI reads; roles that are missing here are called alike there."""

MIXED_HALVES = "turns the two halves of this weight around after the change, not before"
UNKNOWN_NAME = "the stock loader does not know this name and leaves the layer out"


@dataclass(frozen=True)
class _Wanted:
    """What a layer should become: a patch, or the reason why nothing unique can be made of it."""

    value: PatchValue | None = None
    difference: str = ""
    """How the stock loader differs, empty where it does the same."""
    refusal: str = ""


def match_lora(file: LoraFile, tensors: Mapping[str, torch.Tensor], keys: ModelKeys) -> MatchedFile:
    """The file's patches for this model. Patches that ComfyUI makes as meant stay the very same, in the same order."""
    stock = match_file(tensors, keys)
    if needs_renaming(file.header):
        file = read_lora(as_loaded(file.header))
    understood = understand(file)
    held = {**tensors, **stock.tensors}
    layers = tuple(_with_readable_alpha(layer, held) for layer in understood.layers)
    understood = Understanding(layers, understood.remarks, understood.config)
    matches = match_layers(file, understood, keys.names, keys.shapes, keys.has_text_encoder)
    matcher = _Matcher(file, understood, stock, keys, held)
    for match in matches.layers:
        matcher.add(match)
    return matcher.finish()


class _Matcher:
    """Goes through the layers of one file and corrects ComfyUI's patches."""

    def __init__(
        self,
        file: LoraFile,
        understood: Understanding,
        stock: MatchedFile,
        keys: ModelKeys,
        tensors: Mapping[str, torch.Tensor],
    ) -> None:
        self._understood = understood
        self._stock = stock
        self._keys = keys
        self._tensors = tensors
        self._lycoris = not _by_comfyui(file)
        self._patches: dict[Target, MatchedPatch] = {patch.target: patch for patch in stock.patches}
        self._by_tensor = {id(t): patch for patch in stock.patches for t in patch_tensors(patch.value)}
        self._misses: list[Match] = []
        self._scales = {layer.name: layer.scale for layer in understood.layers if layer.parameter == "weight"}

    def add(self, match: Match) -> None:
        """Keep, correct, add or refuse the patches of one layer."""
        layer = match.layer
        tensors = {role: self._tensors[key] for role, key in layer.roles.items() if key in self._tensors}
        theirs = next((self._by_tensor[id(t)] for t in tensors.values() if id(t) in self._by_tensor), None)
        if not match.patches:
            if layer.adapter is None and theirs is not None:
                return  # ComfyUI reads it in its own way, and whether it can be applied shows in its shapes
            return self._miss(match, theirs)
        made: list[MatchedPatch] = []
        for patch in match.patches:
            found = self._make(match, patch, tensors, theirs)
            if isinstance(found, str):
                state = LayerState.NOT_UNDERSTOOD
                return self._miss(Match(layer, (), state, found, match.remark, match.known), theirs)
            made.append(found)
        if theirs is not None and all(theirs.target != patch.target for patch in made):
            self._drop(theirs)
        self._patches.update((patch.target, patch) for patch in made)

    def _make(
        self, match: Match, patch: Patch, tensors: dict[str, torch.Tensor], theirs: MatchedPatch | None
    ) -> MatchedPatch | str:
        """The patch, or why there is none."""
        layer, target = match.layer, patch.target
        if patch.takes:
            theirs = None
            if patch.misfit:
                return MatchedPatch(layer.name, target, None, layer.keys, source=layer, misfit=patch.misfit)
            tensors = self._cut(layer, patch, tensors)
        wanted = self._want(layer, tensors, target, theirs)
        if wanted.refusal:
            return wanted.refusal
        difference = wanted.difference if theirs is not None or (match.known and not patch.takes) else UNKNOWN_NAME
        if theirs is not None and theirs.target == target and wanted.value is theirs.value:
            # Of the tensors that ComfyUI looked at, this layer's alone: a bias beside it has a fate of its own.
            difference = theirs.difference
        if match.known and patch.takes:
            difference = ""  # the remark says where the stock loader puts it
        return MatchedPatch(
            layer.name, target, wanted.value, layer.keys, difference, match.remark, layer, tensors, patch.misfit,
            cut=bool(patch.takes),
        )  # fmt: skip

    def _cut(self, layer: LoraLayer, patch: Patch, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The rows of the layer's tensors that go to one weight."""
        bound = layer.alpha or 0.0
        if "oft_blocks" in tensors and bound > 0:
            # A bound counts for the whole rotation: it is put into the blocks before they are taken apart.
            meant = bound * (layer.out_features or 1) if self._lycoris else bound
            size = _skew_norm(tensors["oft_blocks"])
            blocks = tensors["oft_blocks"].float() * min(1.0, meant / max(size, 1e-8))
            tensors = {**{role: t for role, t in tensors.items() if role != "alpha"}, "oft_blocks": blocks}
        return {r: take(tensor, *patch.takes[r]) if r in patch.takes else tensor for r, tensor in tensors.items()}

    def finish(self) -> MatchedFile:
        """All patches, ComfyUI's order first."""
        return replace(
            self._stock, patches=tuple(self._patches.values()), tensors=self._tensors,
            layers=self._understood.layers, misses=tuple(self._misses),
        )  # fmt: skip

    def _miss(self, match: Match, theirs: MatchedPatch | None) -> None:
        self._misses.append(match)
        if theirs is not None:
            self._drop(theirs)

    def _drop(self, patch: MatchedPatch) -> None:
        if self._patches.get(patch.target) is patch:
            del self._patches[patch.target]

    def _want(
        self, layer: LoraLayer, tensors: dict[str, torch.Tensor], target: Target, theirs: MatchedPatch | None
    ) -> _Wanted:
        stock_value = theirs.value if theirs is not None else None
        shape = self._shape(target)
        kind = layer.adapter.name if layer.adapter is not None else ""
        if layer.dora:
            return _want_dora(layer, tensors, stock_value)
        if kind in ("oft", "boft"):
            return _want_rotation(layer, tensors, stock_value, shape, target_function(target) is None, self._lycoris)
        if kind in PRODUCTS:
            return _want_product(layer, tensors, stock_value, target_function(target) is None)
        if kind in ("diff", "diff_b", "norm", "norm_b", "set", "set_b"):
            return self._want_whole(layer, tensors, stock_value, shape)
        options = _oft_options(self._understood.config) if kind == PEFT_OFT else ()
        return _Wanted(writer_adapter(layer, tensors, options), f"the stock loader cannot read {layer.format}")

    def _want_whole(
        self, layer: LoraLayer, tensors: dict[str, torch.Tensor], theirs: PatchValue, shape: tuple[int, ...]
    ) -> _Wanted:
        role = str(getattr(layer.adapter, "role", next(iter(tensors))))
        tensor = tensors[role]
        if layer.roles[role].endswith((".lora_B.bias", ".lora_up.bias")):
            scaled = tensor.float() * self._scales.get(layer.name, 1.0)  # PEFT scales the bias like the product
            return _Wanted(("diff", (scaled,)), "the stock loader leaves the bias out")
        if tensor.shape != torch.Size(shape) and _same_but_for_ones(tuple(tensor.shape), shape):
            return _Wanted(("diff", (tensor.reshape(shape),)), "the stock loader does not merge this shape")
        if theirs is not None:
            return _Wanted(theirs)
        return _Wanted(("set" if role in ("set_weight", "set_bias") else "diff", (tensor,)), UNKNOWN_NAME)

    def _shape(self, target: Target) -> tuple[int, ...]:
        shape = self._keys.shapes.get(target_key(target), ())
        offset = target_offset(target)
        if offset is None or offset[0] >= len(shape):
            return shape
        return (*shape[: offset[0]], offset[2], *shape[offset[0] + 1 :])


def _want_product(layer: LoraLayer, tensors: dict[str, torch.Tensor], theirs: PatchValue, same_layout: bool) -> _Wanted:
    """LoRA, LoHa, LoKr, GLoRA: ComfyUI's adapter with the right alpha."""
    # ComfyUI's Tucker and Kronecker forms know linear layers and 2D convolutions only, and its LoKr with a core gives
    # torch.kron a tensor that it refuses: the error is logged, and the weight is left as it is.
    odd = any(tensors[role].dim() in (3, 5) for role in ("mid", "hada_t1", "lokr_w2") if role in tensors)
    if odd or "lokr_t2" in tensors:
        return _Wanted(writer_adapter(layer, tensors), "the stock loader cannot apply it to this convolution")
    if layer.format == "glora" and not same_layout:
        return _Wanted(writer_adapter(layer, tensors), f"the stock loader {MIXED_HALVES}")
    if theirs is not None and _is_meant(theirs, layer, tensors):
        return _Wanted(theirs)
    value = _stock_adapter(layer, tensors, _alpha_for(layer))
    if value is None:
        return _Wanted(refusal=f"its {layer.format} tensors do not make a patch")
    if theirs is not None and _same_patch(theirs, value):
        return _Wanted(theirs)
    if not math.isclose(_scale(value), layer.scale, rel_tol=1e-6):
        value = writer_adapter(layer, tensors)  # a LoKr of two whole factors: ComfyUI ignores its alpha
    difference = UNKNOWN_NAME
    if theirs is not None:
        difference = (
            f"the stock loader applies it at scale {_scale(theirs):g}, the file means "
            f"{layer.scale:g} ({layer.scale_source})"
        )
    return _Wanted(value, difference)


def _want_dora(layer: LoraLayer, tensors: dict[str, torch.Tensor], theirs: PatchValue) -> _Wanted:
    magnitude = tensors["dora_scale"]
    if layer.dora == "dora_scale" and magnitude.dim() > 1 and magnitude.shape[0] == 1 and magnitude.numel() > 1:
        # Norms of columns are what ComfyUI computes as trained.
        value = _stock_adapter(layer, tensors, _alpha_for(layer))
        if value is not None and theirs is not None and _same_patch(theirs, value):
            return _Wanted(theirs)
        if value is not None and math.isclose(_scale(value), layer.scale, rel_tol=1e-6):
            return _Wanted(value, UNKNOWN_NAME)
    difference = "the stock loader ignores the DoRA magnitude"
    if theirs is not None and any(t is magnitude for t in patch_tensors(theirs)):
        difference = "the stock loader divides by the norm of the weight without the change, the writer with it (DoRA)"
    return _Wanted(writer_adapter(layer, tensors), difference)


def _want_rotation(
    layer: LoraLayer,
    tensors: dict[str, torch.Tensor],
    theirs: PatchValue,
    shape: tuple[int, ...],
    same_layout: bool,
    lycoris: bool,
) -> _Wanted:
    """OFT and BOFT: ComfyUI's at strength 1 where nothing is bounded or rescaled in another way."""
    if "oft_blocks" not in tensors:
        return _Wanted(writer_adapter(layer, tensors), "the stock loader cannot read oft_diag")
    bound = layer.alpha or 0.0
    # LyCORIS and kohya store the bound for one row, ComfyUI's trainer the bound itself.
    meant = bound * shape[0] if lycoris and shape else bound
    alike = bound <= 0 or meant == bound or _skew_norm(tensors["oft_blocks"]) <= bound
    ignored = layer.format == "oft" and "rescale" in tensors
    if alike and not ignored and same_layout and (layer.format == "oft" or "alpha" in tensors):
        value = _stock_adapter(layer, tensors, layer.alpha)
        own = LinearOft if layer.format == "oft" else LinearBoft
        if value is not None:
            return _Wanted(own(value.loaded_keys, value.weights), UNKNOWN_NAME if theirs is None else "")
    if bound > 0:
        tensors = {**tensors, "alpha": torch.tensor(meant)}
    if not alike:
        why = f"bounds the rotation by {bound:g}, the writer by {meant:g}"
    elif ignored:
        why = "ignores the factors of the rows"
    elif not same_layout:
        why = MIXED_HALVES
    else:
        why = "cannot apply a BOFT without alpha"
    return _Wanted(writer_adapter(layer, tensors), f"the stock loader {why}")


def _skew_norm(blocks: torch.Tensor) -> float:
    """Size of the skew-symmetric part, which a bound limits."""
    blocks = blocks.float()
    return float((blocks - blocks.transpose(-1, -2)).norm())


def _by_comfyui(file: LoraFile) -> bool:
    """Whether ComfyUI's own trainer wrote the file: full native names, no metadata of another tool."""
    native = all(layer.name.startswith("diffusion_model.") for layer in file.layers)
    return native and not any(key.startswith(("ss_", "ot_", "modelspec")) for key in file.header.metadata)


def _with_readable_alpha(layer: LoraLayer, tensors: Mapping[str, torch.Tensor]) -> LoraLayer:
    """Alpha from the tensor itself, where the header alone could not tell it (float8, GGUF)."""
    alpha = tensors.get("alpha")
    if not layer.scale_source.endswith("could not be read") or alpha is None or alpha.numel() != 1 or not layer.rank:
        return layer
    value = float(alpha)
    if not math.isfinite(value):
        return layer
    return replace(layer, alpha=value, scale=value / layer.rank, scale_source="alpha tensor")


def _alpha_for(layer: LoraLayer) -> float | None:
    """The alpha that makes ComfyUI's adapter scale as the file means; ``None`` for scale 1 without alpha."""
    if layer.rank is None or (layer.scale == 1.0 and "alpha" not in layer.roles):
        return None
    return layer.alpha if layer.alpha is not None and "alpha" in layer.roles else layer.scale * layer.rank


def _stock_adapter(
    layer: LoraLayer, tensors: Mapping[str, torch.Tensor], alpha: float | None
) -> WeightAdapterBase | None:
    """ComfyUI's own adapter for these tensors, built by its own loader under a name that it knows."""
    state = {f"x.{_SUFFIX.get(role, role)}": tensor for role, tensor in tensors.items() if role != "alpha"}
    if alpha is not None:
        state["x.alpha"] = torch.tensor(alpha, dtype=torch.float64)
    value: Any = comfy.lora.load_lora(state, {"x": "y"}, log_missing=False).get("y")
    return value if isinstance(value, WeightAdapterBase) else None


def _is_meant(theirs: PatchValue, layer: LoraLayer, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether ComfyUI's own patch is made of all of the layer's tensors and scales as the file means: most are."""
    if not isinstance(theirs, WeightAdapterBase) or layer.adapter is None or theirs.name != layer.adapter.name:
        return False
    own = {id(tensor) for role, tensor in tensors.items() if role != "alpha"}
    if own != {id(tensor) for tensor in patch_tensors(theirs)}:
        return False
    return math.isclose(_scale(theirs), layer.scale, rel_tol=1e-6)


def _same_patch(theirs: PatchValue, ours: WeightAdapterBase) -> bool:
    """Whether ComfyUI's own patch of the file does what ``ours`` does."""
    if type(theirs) is not type(ours) or not math.isclose(_scale(theirs), _scale(ours), rel_tol=1e-6):
        return False
    pairs = zip(patch_tensors(theirs), patch_tensors(ours), strict=False)
    same_count = len(patch_tensors(theirs)) == len(patch_tensors(ours))
    return same_count and all(a is b for a, b in pairs)


def _scale(value: PatchValue) -> float:
    """What ComfyUI's adapter multiplies the product with."""
    return read_parts(value).scale


def _oft_options(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Terms of PEFT's series, where the configuration departs from the default; 0 for the exact transform."""
    if config.get("use_cayley_neumann") is False:
        return (0,)
    terms = config.get("num_cayley_neumann_terms")
    return (terms,) if isinstance(terms, int) and 0 < terms < 100 else ()


def _same_but_for_ones(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two shapes differ only in ones at their end (a linear layer and a 1x1 convolution)."""
    longer, shorter = (first, second) if len(first) > len(second) else (second, first)
    return longer[: len(shorter)] == shorter and all(size == 1 for size in longer[len(shorter) :])
