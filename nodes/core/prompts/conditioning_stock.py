"""Saved conditioning as the *Save Conditioning* and *Load Conditioning* of newer ComfyUI versions lay it out.

One entry a file: the tensor ``conditioning``, each tensor option under its name, a list of tensors as ``name.0``,
``name.1``, and all other options as a JSON object in the metadata ``conditioning_options``.
Source: ``comfy_extras/nodes_cond.py`` of ComfyUI.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import torch

from ..errors import HeaderError
from ..files.tensors import Header

MAIN = "conditioning"
"""Key of the encoded prompt."""
OPTIONS = "conditioning_options"
"""Name of the metadata with the options that are no tensors."""


def is_stock(header: Header) -> bool:
    """Whether a file without our metadata is one that ComfyUI's own loader opens."""
    return header.container == "safetensors" and MAIN in header.tensors


def stock_index(header: Header, name: str) -> list[dict[str, Any]]:
    """Our index of such a file: one prompt, called ``name``.

    Raises:
        HeaderError: its metadata is not a JSON object.
    """
    try:
        values = json.loads(header.metadata.get(OPTIONS, "{}"))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or any(str(key).startswith("$") for key in values):
        raise HeaderError(f'{header.name}: "{OPTIONS}" in its metadata is not a JSON object; save it again.')
    tensors: dict[str, str] = {}
    lists: dict[str, dict[int, str]] = {}
    for key in header.tensors:
        stem, _, number = key.rpartition(".")
        if key == MAIN:
            continue
        if _is_number(number):
            lists.setdefault(stem, {})[int(number)] = key
        else:
            tensors[key] = key
    found = {stem: [{"$tensor": keys[number]} for number in sorted(keys)] for stem, keys in lists.items()}
    entry = {"cond": MAIN, "tensors": tensors, "values": {**values, **found}}
    return [{"name": name, "entries": [entry]}]


def stock_layout(conditioning: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors by key, and the options of the metadata; ``None`` where ComfyUI's loader would not give it back whole.

    A tuple of tensors comes back as a list there, and an option that is ``None`` not at all.
    """
    if len(conditioning) != 1:
        return None
    main, options = conditioning[0]
    tensors: dict[str, torch.Tensor] = {MAIN: main}
    values: dict[str, Any] = {}
    for name, value in options.items():
        if not isinstance(name, str) or name == MAIN or name.startswith("$") or _is_number(name.rpartition(".")[2]):
            return None
        if isinstance(value, torch.Tensor):
            tensors[name] = value
        elif _is_list(value):
            tensors |= {f"{name}.{number}": each for number, each in enumerate(value)}
        elif isinstance(value, float) and not math.isfinite(value):
            return None
        elif isinstance(value, (bool, int, float, str)):
            values[name] = value
        elif value is not None:
            return None
    return tensors, values


def index_of_stock(name: str, conditioning: Any, encoded: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Our index of one prompt that lies as :func:`stock_layout` says.

    Args:
        encoded: The options that are neither a tensor nor a list of them, as our metadata spells them.
    """
    options = conditioning[0][1]
    tensors = {key: key for key, value in options.items() if isinstance(value, torch.Tensor)}
    values: dict[str, Any] = dict(encoded)
    for key, value in options.items():
        if _is_list(value):
            items = [{"$tensor": f"{key}.{number}"} for number in range(len(value))]
            values[key] = items if isinstance(value, list) else {"$tuple": items}
    return {"name": name, "entries": [{"cond": MAIN, "tensors": tensors, "values": values}]}


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, torch.Tensor) for each in value)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
