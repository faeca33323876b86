"""Everything that a conditioning may hold: copied, compared, and as JSON and tensors of a file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import HeaderError, PatchbayError

Conditioning = list[list[Any]]
"""ComfyUI's own form: ``[[tensor, {"pooled_output": tensor, ...}], ...]``."""
_STORABLE = frozenset(
    {
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """One named prompt."""

    name: str
    conditioning: Conditioning


def copy_conditioning(conditioning: Any) -> Conditioning:
    """The same conditioning on the CPU, sharing nothing with the one given.

    Raises:
        PatchbayError: it is not a conditioning, or holds something that a file cannot hold; all such values
        are named.
    """
    if not isinstance(conditioning, (list, tuple)) or not conditioning:
        raise PatchbayError(f"conditioning: expected a list of entries, got {_kind(conditioning)}.")
    refused: list[str] = []
    copied: Conditioning = []
    for entry in conditioning:
        if (
            not isinstance(entry, (list, tuple))
            or len(entry) != 2
            or not isinstance(entry[0], torch.Tensor)
            or not isinstance(entry[1], dict)
        ):
            raise PatchbayError("conditioning: expected entries of a tensor and a dictionary.")
        copied.append([_copy(entry[0], "the main tensor", refused), _copy(entry[1], "", refused)])
    if refused:
        raise PatchbayError(
            f"conditioning: a file cannot hold {'; '.join(dict.fromkeys(refused))}. Save the conditioning "
            "before "
            "the node that adds this (a ControlNet, a hook, a style model), and apply that node after "
            "loading."
        )
    return copied


def same_conditioning(a: Any, b: Any) -> bool:
    """Whether two conditionings are equal bit for bit, types and dtypes included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bits(a), _bits(b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same_conditioning(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_conditioning(value, b[key]) for key, value in a.items())
    if isinstance(a, float):
        return a.hex() == b.hex()
    return bool(a == b)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def _copy(value: Any, where: str, refused: list[str]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return _copy(value.item(), where, refused)
    if isinstance(value, torch.Tensor):
        plain = type(value) in (torch.Tensor, torch.nn.Parameter) and value.layout == torch.strided
        if not plain or value.dtype not in _STORABLE or value.is_meta:
            refused.append(f"{where} ({type(value).__name__} of {value.dtype})")
            return None
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if type(value) in (list, tuple):
        return type(value)(_copy(item, f"{where}[{i}]", refused) for i, item in enumerate(value))
    if isinstance(value, dict):
        if all(key is None or type(key) in (bool, int, str) for key in value):
            stem = f"{where}." if where else ""
            return {key: _copy(item, f"{stem}{key}", refused) for key, item in value.items()}
    refused.append(f"{where} ({_kind(value)})")
    return None


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def encode_prompt(prompt: Prompt, prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """A prompt as JSON; its tensors go into ``tensors`` under keys that begin with ``prefix``."""
    entries = []
    for position, (cond, options) in enumerate(prompt.conditioning):
        stem = f"{prefix}.{position}"
        tensors[f"{stem}.cond"] = cond
        entry: dict[str, Any] = {"cond": f"{stem}.cond", "tensors": {}, "values": {}}
        for name, value in options.items():
            if not isinstance(name, str):
                raise PatchbayError(f"conditioning: expected names as keys, got {name!r}.")
            key = f"{stem}.{name}"
            if isinstance(value, torch.Tensor):
                entry["tensors"][name] = _store(value, key, tensors)
            else:
                entry["values"][name] = _encode(value, key, tensors)
        entries.append(entry)
    return {"name": prompt.name, "entries": entries}


def _store(tensor: torch.Tensor, key: str, tensors: dict[str, torch.Tensor]) -> str:
    key = re.sub(r"[^A-Za-z0-9_.-]", "_", key)
    while key in tensors:
        key += "_"
    tensors[key] = tensor
    return key


def encode_value(value: Any) -> Any:
    """A value without tensors as JSON."""
    return _encode(value, "", {})


def _encode(value: Any, key: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return {"$tensor": _store(value, key, tensors)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{key}.{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, dict):
        if all(isinstance(name, str) and not name.startswith("$") for name in value):
            return {name: _encode(item, f"{key}.{name}", tensors) for name, item in value.items()}
        return {"$dict": [[name, _encode(item, f"{key}.{name}", tensors)] for name, item in value.items()]}
    return value


def decode_value(value: Any, tensor: Any, name: str) -> Any:
    """What :func:`encode_prompt` made of a value; ``tensor`` gives a tensor by its key."""
    if isinstance(value, list):
        return [decode_value(item, tensor, name) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), "") if len(value) == 1 else ""
    inner = value.get(tag)
    if tag == "$tensor":
        return tensor(inner)
    if tag == "$float" and inner in ("nan", "inf", "-inf"):
        return float(inner)
    if tag == "$tuple" and isinstance(inner, list):
        return tuple(decode_value(item, tensor, name) for item in inner)
    if tag == "$dict" and isinstance(inner, list) and all(isinstance(p, list) and len(p) == 2 for p in inner):
        return {_hashable(key, name): decode_value(item, tensor, name) for key, item in inner}
    if any(key.startswith("$") for key in value):
        raise HeaderError(
            f"{name}: its metadata holds {list(value)}, which this version does not know; update the pack."
        )
    return {key: decode_value(item, tensor, name) for key, item in value.items()}


def _hashable(key: Any, name: str) -> Any:
    if isinstance(key, (list, dict)):
        raise HeaderError(f"{name}: its metadata contradicts itself; save or download it again.")
    return key
