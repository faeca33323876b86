"""How strong one layer of a LoRA is: norms of its delta at strength 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import AdapterFormatError
from ..files.tensors import Header
from .adapters import dora_delta
from .adapters.base import Strength, dense_strength
from .file import LoraLayer

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LayerStrength:
    """Size of what a layer adds. Every figure is ``None`` where ``not_measured`` says why."""

    delta_norm: float | None = None
    """Frobenius norm at strength 1, in units of the weight."""
    spectral_norm: float | None = None
    """Largest singular value of the delta as a matrix [out, in x kernel]."""
    stable_rank: float | None = None
    """``delta_norm^2 / spectral_norm^2``: how many directions share the strength."""
    not_measured: str = ""
    dead: bool = False
    """Whether the layer changes nothing: a factor is all zero."""


def measure_layer(
    layer: LoraLayer, tensors: Mapping[str, Tensor], weight: Tensor | None = None, spectral: bool = True
) -> LayerStrength:
    """Norms of the layer's delta, without building it where an exact form exists.

    Args:
        tensors: The layer's tensors by role (see :func:`load_layer`).
        weight: The model's own weight (the slice of it that the layer changes), for formats that depend on it.
        spectral: Find the largest singular value as well, which can take most of the time.
    """
    if layer.adapter is None:
        return LayerStrength(not_measured=layer.note or "the format is not known")
    if layer.scale_source.startswith("not known"):
        return LayerStrength(not_measured=f"the scale is {layer.scale_source}")
    missing = [role for role in layer.roles if role not in tensors]
    if missing:
        return LayerStrength(not_measured=f"{', '.join(missing)} missing")
    try:
        # A DoRA whose inner delta is zero still rescales the weight to its magnitude.
        dead = not layer.dora and layer.adapter.is_dead(tensors)
        if dead:
            return LayerStrength(0.0, 0.0, None, "", dead=True)
        if layer.dora:
            delta = layer_delta(layer, tensors, weight)
            strength = dense_strength(delta, spectral)
        else:
            parts = (tensors, layer.scale, weight)
            strength = layer.adapter.strength(*parts) if spectral else Strength(layer.adapter.norm(*parts))
    except (AdapterFormatError, RuntimeError) as error:
        return LayerStrength(not_measured=str(error).split("\n", 1)[0][:300])
    if not math.isfinite(strength.delta_norm):
        return LayerStrength(not_measured="its tensors contain infinite values or values that are no numbers")
    stable = strength.delta_norm**2 / strength.spectral_norm**2 if strength.spectral_norm else None
    return LayerStrength(strength.delta_norm, strength.spectral_norm, stable)


def layer_delta(layer: LoraLayer, tensors: Mapping[str, Tensor], weight: Tensor | None = None) -> Tensor:
    """What the layer adds to the weight at strength 1, float32.

    Raises:
        AdapterFormatError: the format is not understood, or the weight is needed and missing or does not fit.
    """
    if layer.adapter is None:
        raise AdapterFormatError(layer.note or "the format is not known")
    if layer.dora:
        if weight is None:
            raise AdapterFormatError("DoRA depends on the model's own weight, which is not available")
        inner = layer.adapter.delta(tensors, layer.scale, weight)
        return dora_delta(inner, tensors["dora_scale"], weight)
    return layer.adapter.delta(tensors, layer.scale, weight)


def load_layer(header: Header, layer: LoraLayer, handle: object | None = None) -> dict[str, Tensor]:
    """The tensors of one layer by role, from the file behind ``header``.

    Args:
        handle: An open ``safetensors.safe_open`` for many layers; without it the file is opened here.
    """
    if header.loaded is not None:
        return {role: header.loaded[key] for role, key in layer.roles.items()}
    if handle is not None:
        return {role: handle.get_tensor(key) for role, key in layer.roles.items()}  # type: ignore[attr-defined]
    if header.path is None or header.container != "safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(header.path, "pt") as file:
        return {role: file.get_tensor(key) for role, key in layer.roles.items()}
