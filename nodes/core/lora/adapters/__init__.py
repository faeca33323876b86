"""The adapter formats, one module a family, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Adapter, Described, Shape, Strength, Tensors
from .diff import (
    DiffAdapter,
    DiffBiasAdapter,
    Ia3Adapter,
    NormBiasAdapter,
    NormWeightAdapter,
    SetAdapter,
    SetBiasAdapter,
)
from .dora import SPELLINGS as DORA_SPELLINGS
from .dora import dora_delta
from .glora import GloraAdapter
from .loha import LohaAdapter
from .lokr import LokrAdapter
from .lora import LoraAdapter
from .oft import BoftAdapter, Oft2Adapter, OftAdapter, PeftBoftAdapter

ADAPTERS: tuple[Adapter, ...] = (
    LoraAdapter(),
    LohaAdapter(),
    LokrAdapter(),
    GloraAdapter(),
    OftAdapter(),
    BoftAdapter(),
    Oft2Adapter(),
    PeftBoftAdapter(),
    Ia3Adapter(),
    DiffAdapter(),
    NormWeightAdapter(),
    SetAdapter(),
    DiffBiasAdapter(),
    NormBiasAdapter(),
    SetBiasAdapter(),
)
"""Tried in order. A layer may have one that changes its weight and one that changes its bias."""

SUFFIXES: Mapping[str, str] = {
    "alpha": "alpha",
    **{spelling: "dora_scale" for spelling in DORA_SPELLINGS},
    **{suffix: role for adapter in ADAPTERS for suffix, role in adapter.suffixes.items()},
}
"""End of a key, without the dot before it, to the role of the tensor."""


def find_adapters(shapes: Mapping[str, Shape]) -> tuple[Adapter, ...]:
    """The adapters that tensors of these roles make: at most one for the weight and one for the bias."""
    found: dict[str, Adapter] = {}
    for adapter in ADAPTERS:
        if adapter.parameter not in found and adapter.recognise(shapes):
            found[adapter.parameter] = adapter
    return tuple(found.values())


__all__ = [
    "ADAPTERS",
    "DORA_SPELLINGS",
    "SUFFIXES",
    "Adapter",
    "Described",
    "Shape",
    "Strength",
    "Tensors",
    "dora_delta",
    "find_adapters",
]
