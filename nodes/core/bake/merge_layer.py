"""One weight of a merged LoRA: what several layers change of it, as one layer.

* One layer alone keeps its own format, its strength in alpha where that is possible, as in a baked file.
* Factors are put side by side: ``sum_i s_i U_i V_i = [s_1 U_1, s_2 U_2, ...] [V_1; V_2; ...]``, exactly, as long as the
  sum of the ranks is below the full rank of the weight. A LoHa has the factors of its Khatri-Rao product, a LoKr those
  of its Kronecker product (see :mod:`.resize`).
* Everything else is added up as a whole difference. What depends on the weight itself (DoRA, OFT) is computed on the
  weight as the layers before it have left it, which is what loaders one after the other do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import PatchbayError
from ..files.reader import TensorReader
from ..lora.adapters.rows import take
from ..lora.layer_norms import layer_delta
from ..match.shapes import slice_shape
from .baking import bake_layer
from .converted import factors_by_parts
from .dtypes import cast_checked
from .layer import AS_IN_FILE, PRODUCTS, WHOLE, BakeLayer, BakeOptions, obstacle
from .merge_plan import Blend, MergePart
from .plan import factor_suffixes
from .resize import dense_error, factor_error, factor_rank, factors, reduce_dense, reduce_factors
from .scaled import by_parts

if TYPE_CHECKING:
    from torch import Tensor
    from torch import dtype as DType  # noqa: N812

KEPT, JOINED, REDUCED, SUMMED = "kept", "factors side by side", "reduced", "whole difference"

Weight = Callable[[str], "Tensor | None"]


@dataclass(frozen=True)
class MergedLayer:
    """What is written for a weight."""

    tensors: Mapping[str, Tensor]
    """By full key."""
    how: str
    rank: int | None = None
    error: float | None = None
    """``|written - meant| / |meant|`` of what was rounded or cut off; ``None`` where exact."""
    norm: float | None = None
    """Frobenius norm of the change that was meant; ``None`` where that depends on the weight."""


def merge_way(blend: Blend, options: BakeOptions, weight_readable: bool) -> str:
    """How a weight will be written, from shapes alone.

    Raises:
        PatchbayError: it cannot be done, with the reason.
    """
    light = [_light(part, blend) for part in blend.parts]
    if _stays(blend, light):
        return KEPT
    for part, layer in zip(blend.parts, light, strict=True):
        _refuse(blend, part, layer, weight_readable)
    ranks = [part_rank(part) for part in blend.parts]
    flat = len(blend.shape) > 1
    if flat and all(ranks):
        total, full = sum(ranks), min(blend.shape[0], math.prod(blend.shape[1:]))
        wanted = options.resizing
        if not wanted.keeps_all and (wanted.energy < 1 or total > wanted.rank):
            return REDUCED
        if total <= full:
            return JOINED
    return REDUCED if flat and not options.resizing.keeps_all else SUMMED


def merge_blend(
    blend: Blend, readers: Sequence[TensorReader], options: BakeOptions, weight: Weight = lambda key: None
) -> MergedLayer:
    """Make the one layer.

    Args:
        readers: Of the files, in their order.
        weight: The model's own weight by its full key.

    Raises:
        PatchbayError: it cannot be done, or a value does not fit its dtype.
    """
    layers = [read_part(part, blend, readers[part.source]) for part in blend.parts]
    if _stays(blend, layers):
        return _kept(layers[0], blend.parts[0], options)
    way = merge_way(blend, options, True)
    ends = next((layer.factor_suffixes for layer in layers if layer.kind == "lora"), layers[0].factor_suffixes)
    if way == JOINED:
        return _joined(blend, layers, ends, options)
    if way == REDUCED and all(part_rank(part) for part in blend.parts):
        up, down = side_by_side(blend, layers)
        low = reduce_factors(up, down, options.resizing)
        dtype = _asked(options) or _widest(layers)
        stored = cast_checked(low.up, dtype, blend.name), cast_checked(low.down, dtype, blend.name)
        norm = product_norm(up, down)
        return MergedLayer(
            _lora_tensors(blend, ends, *stored, 1.0), REDUCED, low.rank, factor_error(up, down, *stored), norm
        )
    delta = summed(blend, layers, weight)
    if way == REDUCED:
        low = reduce_dense(delta.flatten(1), options.resizing)
        dtype = _asked(options) or _widest(layers)
        stored = cast_checked(low.up, dtype, blend.name), cast_checked(low.down, dtype, blend.name)
        error = dense_error(delta.flatten(1), *stored)
        return MergedLayer(_lora_tensors(blend, ends, *stored, 1.0), REDUCED, low.rank, error, _norm(delta))
    stored = _narrow(delta, _asked(options), _widest(layers), blend.name)
    error = _rounding(delta, stored)
    suffix = ".diff_b" if blend.parameter == "bias" else ".diff"
    return MergedLayer({blend.name + suffix: stored}, SUMMED, None, error or None, _norm(delta))


# --- what may be done -------------------------------------------------------------------------------------


def _stays(blend: Blend, layers: Sequence[BakeLayer]) -> bool:
    """Whether it is one layer that fills the weight and whose own format holds its strength."""
    part, layer = blend.parts[0], layers[0]
    if len(layers) > 1 or part.tied or part.takes or obstacle(layer):
        return False
    # Under other names nobody could tell whose OFT or DoRA it is, and so how it is computed.
    return blend.own_names or (part.offset is None and not layer.dora and layer.kind in PRODUCTS | WHOLE)


def _refuse(blend: Blend, part: MergePart, layer: BakeLayer, weight_readable: bool) -> None:
    """
    Raises:
        PatchbayError: a layer that cannot be added to others.
    """
    where = f"{blend.name}: {layer.label}"
    if part.tied:
        raise PatchbayError(f"{where} cannot be merged: {part.tied}.")
    if "reshape" in layer.tensors:
        raise PatchbayError(f"{where} makes the weight larger, which no sum with others can say. Leave that file out.")
    if part.layer.needs_weight and not weight_readable:
        reason = obstacle(layer) or "what it changes depends on what the other files do to the same weight"
        raise PatchbayError(
            f"{where} cannot be merged without the weight: {reason}. Give the base model, with weights stored whole."
        )


def part_rank(part: MergePart) -> int:
    """Rank of the layer's exact factors; 0 where it has none."""
    layer = part.layer
    if layer.dora or layer.parameter != "weight" or layer.adapter is None:
        return 0
    return factor_rank(layer.adapter.name, part.shapes)


# --- layers with and without their tensors ----------------------------------------------------------------


def _light(part: MergePart, blend: Blend) -> BakeLayer:
    return _layer(part, blend, _empty(part), {})


def _empty(part: MergePart) -> dict[str, Tensor]:
    import torch

    return {role: torch.empty(shape, device="meta") for role, shape in part.shapes.items()}


def read_part(part: MergePart, blend: Blend, reader: TensorReader) -> BakeLayer:
    """The layer with its tensors, as one of the new file."""
    held = {role: reader.read(key) for role, key in part.layer.roles.items()}
    held = {role: take(x, *part.takes[role]) if role in part.takes else x for role, x in held.items()}
    return _layer(part, blend, held, reader.header.tensors)


def _layer(part: MergePart, blend: Blend, held: Mapping[str, Tensor], keys: Mapping[str, object]) -> BakeLayer:
    layer = part.layer
    assert layer.adapter is not None
    shape = blend.shape if blend.own_names else slice_shape(blend.shape, part.offset)
    suffixes = {role: key[len(layer.name) :] for role, key in layer.roles.items() if key.startswith(layer.name)}
    ends = factor_suffixes(keys if blend.own_names else ())
    made = BakeLayer(
        blend.name, layer.adapter.name, held, shape, part.strength, part.shares, layer.scale, layer.rank,
        bool(layer.dora), suffixes if blend.own_names else {}, ends,
    )  # fmt: skip
    if layer.needs_weight:
        return made
    adapter = layer.adapter
    plain = {role: tensor for role, tensor in held.items() if role != "alpha"}
    return replace(made, delta=lambda: adapter.delta(plain, layer.scale))


# --- the ways ---------------------------------------------------------------------------------------------


def _kept(layer: BakeLayer, part: MergePart, options: BakeOptions) -> MergedLayer:
    baked = bake_layer(layer, options)
    reduced = "rank" in baked.note
    norm = None
    if layer.delta is not None and layer.uniform is not None and part.layer.adapter is not None:
        plain = {role: tensor for role, tensor in layer.tensors.items() if role != "alpha"}
        norm = abs(layer.uniform) * part.layer.adapter.norm(plain, layer.scale)
    return MergedLayer(baked.tensors, REDUCED if reduced else KEPT, layer.rank, baked.error, norm)


def _joined(blend: Blend, layers: Sequence[BakeLayer], ends: tuple[str, str], options: BakeOptions) -> MergedLayer:
    """All factors in one LoRA; what the products have in common goes into alpha, so that nothing is rounded."""
    import torch

    made = [_plain_factors(layer) for layer in layers]
    common = max((factor for _, _, factor in made), key=abs)
    if ".lora_A" in ends[1]:
        common = 1.0  # PEFT's names have no alpha: readers that know them alone would not see it
    ups = [up if factor == common else up.float() * (factor / common) for up, _, factor in made]
    rows = [_placed(up, blend, part) for up, part in zip(ups, blend.parts, strict=True)]
    downs = [down for _, down, _ in made]
    down = [_placed_columns(x, blend, part) for x, part in zip(downs, blend.parts, strict=True)]
    exact = torch.cat([x.float() for x in rows], 1), torch.cat([x.float() for x in down])
    asked, widest = _asked(options), _widest(layers)
    up_stored = _narrow(exact[0], asked, widest, blend.name)
    down_stored = _narrow(exact[1], asked, widest, blend.name)
    error = None
    if not (torch.equal(up_stored.float(), exact[0]) and torch.equal(down_stored.float(), exact[1])):
        error = factor_error(*exact, up_stored.float(), down_stored.float())
    norm = abs(common) * product_norm(*exact)
    tensors = _lora_tensors(blend, ends, up_stored, down_stored, common)
    return MergedLayer(tensors, JOINED, int(exact[1].shape[0]), error, norm)


def _plain_factors(layer: BakeLayer) -> tuple[Tensor, Tensor, float]:
    """``up``, ``down`` and what their product is multiplied with; in the file's own dtype where that is possible."""
    if layer.kind == "lora" and "mid" not in layer.tensors and not layer.shares:
        return layer.tensors["up"].flatten(1), layer.tensors["down"].flatten(1), layer.scale * layer.strength
    made = factors(layer.kind, layer.tensors, 1.0)
    assert made is not None
    return *factors_by_parts(made, layer), layer.scale


def side_by_side(blend: Blend, layers: Sequence[BakeLayer]) -> tuple[Tensor, Tensor]:
    """Factors in float32 with everything in ``up``."""
    import torch

    ups, downs = [], []
    for layer, part in zip(layers, blend.parts, strict=True):
        up, down, factor = _plain_factors(layer)
        ups.append(_placed(up.float() * factor, blend, part))
        downs.append(_placed_columns(down.float(), blend, part))
    return torch.cat(ups, 1), torch.cat(downs)


def _placed(up: Tensor, blend: Blend, part: MergePart) -> Tensor:
    """``up`` with zeros in the rows of the weight that the part leaves alone."""
    if blend.own_names or part.offset is None or part.offset[0] != 0:
        return up
    whole = up.new_zeros(blend.shape[0], up.shape[1])
    whole[part.offset[1] : part.offset[1] + up.shape[0]] = up
    return whole


def _placed_columns(down: Tensor, blend: Blend, part: MergePart) -> Tensor:
    if blend.own_names or part.offset is None or part.offset[0] != 1:
        return down
    size = down.shape[1] // part.offset[2]
    whole = down.new_zeros(down.shape[0], blend.shape[1] * size)
    whole[:, part.offset[1] * size : (part.offset[1] + part.offset[2]) * size] = down
    return whole


def summed(blend: Blend, layers: Sequence[BakeLayer], weight: Weight) -> Tensor:
    """The whole change, float32, of the blend's shape: one layer after the other on the same weight."""
    import torch

    needs = any(part.layer.needs_weight for part in blend.parts)
    original = weight(blend.model_key) if needs else None
    if needs and original is None:
        raise PatchbayError(
            f"{blend.name}: needs the model's own weight {blend.model_key or '(no model is at hand)'}, which cannot be "
            "read as numbers. Give a base model whose weights are stored whole."
        )
    start = torch.zeros(blend.shape) if original is None else original.float().reshape(_weight_shape(blend, original))
    if original is not None and blend.offset is not None:
        start = start.narrow(*blend.offset)
    current = start.clone()
    for part, layer in zip(blend.parts, layers, strict=True):
        view = current if blend.own_names or part.offset is None else current.narrow(*part.offset)
        held = layer.tensors if part.layer.needs_weight else {r: t for r, t in layer.tensors.items() if r != "alpha"}
        change = layer_delta(part.layer, held, view if needs else None)
        view += by_parts(change.float().reshape(view.shape), layer)
    return current - start


def _weight_shape(blend: Blend, weight: Tensor) -> tuple[int, ...]:
    return tuple(weight.shape) if blend.offset is not None else blend.shape


def _lora_tensors(blend: Blend, ends: tuple[str, str], up: Tensor, down: Tensor, scale: float) -> dict[str, Tensor]:
    import torch

    rank, kernel = int(down.shape[0]), blend.shape[2:]
    tensors = {
        blend.name + ends[0]: up.reshape(*up.shape, *[1] * len(kernel)).contiguous(),
        blend.name + ends[1]: down.reshape(rank, blend.shape[1], *kernel).contiguous(),
    }
    if scale != 1.0 or ".lora_A" not in ends[1]:
        tensors[f"{blend.name}.alpha"] = torch.tensor(float(scale * rank))
    return tensors


# --- how numbers are stored ---------------------------------------------------------------------------------


def _asked(options: BakeOptions) -> DType | None:
    import torch

    return None if options.dtype == AS_IN_FILE else getattr(torch, options.dtype)


def _widest(layers: Sequence[BakeLayer]) -> DType:
    """The dtype that holds the numbers of every file."""
    import torch

    found = {max(layer.tensors.values(), key=lambda tensor: tensor.numel()).dtype for layer in layers}
    if len(found) > 1 or not next(iter(found)).is_floating_point:
        return torch.float32
    return next(iter(found))


def _narrow(exact: Tensor, asked: DType | None, dtype: DType, name: str) -> Tensor:
    """In the dtype that was asked for; else in the files' own where that rounds nothing, and in float32 where not."""
    import torch

    if asked is not None:
        return cast_checked(exact, asked, name)
    stored = exact.to(dtype)
    return stored if torch.equal(stored.float(), exact) else exact


def _rounding(exact: Tensor, stored: Tensor) -> float:
    total = _norm(exact)
    return _norm(stored.double() - exact.double()) / total if total else 0.0


def _norm(tensor: Tensor) -> float:
    import torch

    return float(torch.linalg.vector_norm(tensor.double()))


def product_norm(up: Tensor, down: Tensor) -> float:
    """``|U V|`` from Gram matrices in float64."""
    up, down = up.double(), down.double()
    return math.sqrt(max(float(((up.T @ up) * (down @ down.T)).sum()), 0.0))
