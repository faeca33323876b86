"""The strength baked into layers: each in its own format where that is exact, else as the user says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PatchbayError
from .converted import as_difference, as_lora, lora_factors
from .layer import (
    DIFFERENCE,
    LORA,
    LORA_FOR_ALL,
    NEVER,
    REPLACED,
    BakedLayer,
    BakeLayer,
    BakeOptions,
    needs_weight,
    obstacle,
)
from .scaled import same_format

if TYPE_CHECKING:
    pass  # noqa: N812


def check_layers(layers: list[BakeLayer], options: BakeOptions) -> None:
    """Refuse before anything is written.

    Raises:
        PatchbayError: layers whose format cannot carry their strength, and no conversion that helps; all are counted.
    """
    found = [(layer, obstacle(layer)) for layer in layers]
    found = [(layer, why) for layer, why in found if why]
    if found and options.convert == NEVER:
        layer, why = found[0]
        raise PatchbayError(
            f"{len(found)} of {len(layers)} layers cannot hold their strength in their own format. For example "
            f'{layer.name}: {why}. Set convert to "{DIFFERENCE}" (exact, large) or "{LORA}" (with a rank or an '
            "energy), or give these layers strength 1 or 0."
        )
    for layer in layers:
        if _target(layer, options) == "lora" and layer.delta is None and lora_factors(layer) is None:
            raise PatchbayError(needs_weight(layer))
        if _target(layer, options) == "diff" and layer.delta is None:
            raise PatchbayError(needs_weight(layer))
        if _target(layer, options) == "lora" and options.resizing.keeps_all and lora_factors(layer) is None:
            raise PatchbayError(
                f"{layer.name}: {layer.label} has no rank that a LoRA could take over. Give a rank, or an energy "
                f'below 1, or set convert to "{DIFFERENCE}".'
            )


def bake_layer(layer: BakeLayer, options: BakeOptions) -> BakedLayer:
    """Write the strength into one layer.

    Raises:
        PatchbayError: it cannot be done exactly and no conversion was asked for, or a value does not fit the dtype.
    """
    target = _target(layer, options)
    if target == "lora":
        return as_lora(layer, options)
    if target == "diff":
        return as_difference(layer, options)
    why = obstacle(layer)
    if why:
        raise PatchbayError(f"{layer.name}: {why}.")
    return same_format(layer, options)


def _target(layer: BakeLayer, options: BakeOptions) -> str:
    """``lora``, ``diff`` or empty for the layer's own format."""
    if layer.only_as_difference:
        wide = len(layer.shape) > 1 and layer.kind not in ("diff_b", "norm_b")
        smaller = options.convert in (LORA, LORA_FOR_ALL) and not options.resizing.keeps_all
        return "lora" if wide and smaller else "diff"
    if len(layer.shape) < 2 or layer.kind in ("diff_b", "norm_b", "set", "set_b"):
        needs = bool(obstacle(layer)) or not layer.stock_reads
        return "diff" if needs and options.convert != NEVER and layer.kind not in REPLACED else ""
    if layer.kind == "lora" and not layer.dora and "reshape" not in layer.tensors:
        limit = options.resizing
        small = limit.energy == 1 and layer.rank is not None and layer.rank <= (limit.rank or layer.rank)
        return "" if small and "mid" not in layer.tensors else "lora" if not limit.keeps_all else ""
    if layer.kind == "lora" and not layer.dora:
        return ""  # it enlarges the weight: no change of the weight's own shape, and no other format says so
    if options.convert == LORA_FOR_ALL:
        return "lora"
    if options.convert != NEVER and (obstacle(layer) or not layer.stock_reads):
        return "diff" if options.convert == DIFFERENCE else "lora"
    return ""
