"""A layer as a whole difference or as a LoRA, where its own format cannot carry its strength."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PatchbayError
from .dtypes import cast_checked, dtype_for, largest_tensor, rounding_error
from .layer import BakedLayer, BakeLayer, BakeOptions, needs_weight
from .resize import LowRank, dense_error, factor_error, factors, reduce_dense, reduce_factors
from .scaled import by_parts, scale_slices

if TYPE_CHECKING:
    from torch import Tensor
    from torch import dtype as DType  # noqa: N812


def lora_factors(layer: BakeLayer) -> tuple[Tensor, Tensor] | None:
    """``up`` and ``down`` of a format that is a product of such factors; ``None`` of any other."""
    return None if layer.dora else factors(layer.kind, layer.tensors, layer.scale)


def as_difference(layer: BakeLayer, options: BakeOptions) -> BakedLayer:
    """The layer as a whole difference for the model at hand."""
    delta = by_parts(_delta(layer), layer)
    stored = cast_checked(delta, dtype_for(largest_tensor(layer), "diff", options), layer.name)
    error = rounding_error(delta, stored)
    suffix = ".diff_b" if layer.kind in ("diff_b", "norm_b") else ".diff"
    note = f"{layer.label} converted to a whole difference for this model"
    return BakedLayer({layer.name + suffix: stored}, note, error or None, converted=True)


def as_lora(layer: BakeLayer, options: BakeOptions) -> BakedLayer:
    """The layer as a LoRA of the rank or energy that was asked for, with its error."""
    import torch

    made = lora_factors(layer)
    if not all(bool(tensor.float().isfinite().all()) for tensor in layer.tensors.values()):
        raise PatchbayError(
            f"{layer.name}: it holds infinite values or values that are no numbers, so no LoRA approximates it. Leave "
            "it out: give its block strength 0."
        )
    kernel = layer.shape[2:]
    dtype = dtype_for(largest_tensor(layer), "up", options)
    if made is not None:
        up, down = factors_by_parts(made, layer)
        low = reduce_factors(up, down, options.resizing)
        stored = _stored(low, dtype, layer.name)
        error = factor_error(up, down, *stored)
    else:
        delta = by_parts(_delta(layer), layer).flatten(1)
        low = reduce_dense(delta, options.resizing)
        stored = _stored(low, dtype, layer.name)
        error = dense_error(delta, *stored)
    up, down = stored
    tensors = {
        layer.name + layer.factor_suffixes[0]: up.reshape(*up.shape, *[1] * len(kernel)),
        layer.name + layer.factor_suffixes[1]: down.reshape(low.rank, layer.shape[1], *kernel),
        f"{layer.name}.alpha": torch.tensor(float(low.rank)),
    }
    converted = layer.kind != "lora" or layer.dora
    before = layer.rank or low.full_rank
    what = f"{layer.label} converted to a LoRA of rank {low.rank}" if converted else f"rank {before} to {low.rank}"
    if not low.full_rank:
        return BakedLayer(tensors, f"{what}: all zero", 0.0, converted)
    return BakedLayer(tensors, f"{what}: error {error:.2%}", error, converted)


def factors_by_parts(made: tuple[Tensor, Tensor], layer: BakeLayer) -> tuple[Tensor, Tensor]:
    """Exact factors with the layer's strength, or the strengths of its parts, in them."""
    up, down = made
    if not layer.shares:
        return up * layer.strength, down
    rows = tuple(share for share in layer.shares if share[0] == 0)
    if rows:
        return scale_slices(up, rows), down
    size = down.shape[1] // layer.shape[1]  # elements of the kernel
    columns = tuple((1, start * size, length * size, s) for _, start, length, s in layer.shares)
    return up, scale_slices(down, columns)


def _stored(low: LowRank, dtype: DType, name: str) -> tuple[Tensor, Tensor]:
    return cast_checked(low.up, dtype, name), cast_checked(low.down, dtype, name)


def _delta(layer: BakeLayer) -> Tensor:
    if layer.delta is None:
        raise PatchbayError(needs_weight(layer))
    return layer.delta().float().reshape(layer.shape)
