"""What a file says about each quantised weight: ComfyUI's ``comfy_quant`` tensors, and the same in the metadata.

Beside ``X.weight`` lies ``X.comfy_quant``, bytes of JSON with ``format`` and options, some of them under ``params``.
Older files keep one JSON for all layers in the metadata, which ComfyUI turns into such tensors while it loads.
Source: ``comfy/ops.py`` (``_load_quantized_module``) and ``comfy/utils.py`` (``convert_old_quants``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from .tensors import Header

END = ".comfy_quant"
METADATA = "_quantization_metadata"

_MOST = 20_000
_LONGEST = 4_096
_LONGEST_METADATA = 8_000_000


@dataclass(frozen=True)
class QuantConfig:
    """How one weight is stored."""

    format: str
    """As the file spells it: ``int8_tensorwise``, ``convrot_w4a4``."""
    convrot: bool = False
    """Whether its columns are rotated in groups."""
    shape: tuple[int, ...] = ()
    """Of the weight before it was padded and packed; empty where the file does not say."""


def read_quant_configs(header: Header) -> dict[str, QuantConfig]:
    """By the name of the layer, its prefix included. What cannot be read is left out."""
    found = _of_metadata(header.metadata.get(METADATA, ""))
    for layer, raw in _texts(header):
        config = _parse(raw)
        if config is not None:
            found[layer] = config
    return found


def _texts(header: Header) -> Iterator[tuple[str, bytes]]:
    wanted = [i for key, i in header.tensors.items() if key.endswith(END) and i.count <= _LONGEST][:_MOST]
    if not wanted:
        return
    if header.loaded is not None:
        for info in wanted:
            values: list[Any] = header.loaded[info.key].flatten().tolist()
            yield info.key.removesuffix(END), bytes(int(v) & 255 for v in values)
    else:
        for info, raw in header.raw(wanted, _LONGEST):
            yield info.key.removesuffix(END), raw


@lru_cache(1_024)
def _parse(raw: bytes) -> QuantConfig | None:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return _config(data)


def _config(data: Any) -> QuantConfig | None:
    if not isinstance(data, dict):
        return None
    fields = cast("dict[str, Any]", data)
    params = fields.get("params")
    options: Mapping[str, Any] = {**(cast("dict[str, Any]", params) if isinstance(params, dict) else {}), **fields}
    name, shape = options.get("format"), options.get("orig_shape")
    if not isinstance(name, str) or not name:
        return None
    whole = isinstance(shape, list) and all(type(size) is int and size > 0 for size in cast("list[Any]", shape))
    sizes = tuple(cast("list[int]", shape)) if whole and len(cast("list[Any]", shape)) == 2 else ()
    return QuantConfig("".join(c for c in name[:40] if c.isprintable()), options.get("convrot") is True, sizes)


def _of_metadata(text: str) -> dict[str, QuantConfig]:
    if not text or len(text) > _LONGEST_METADATA:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    layers: Any = cast("dict[str, Any]", data).get("layers") if isinstance(data, dict) else None
    if not isinstance(layers, dict):
        return {}
    parsed = ((name, _config(value)) for name, value in list(cast("dict[str, Any]", layers).items())[:_MOST])
    return {name: config for name, config in parsed if config is not None}
