"""The spelling of LoRA keys: which part names the layer, and which part says what the tensor is for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from .adapters import SUFFIXES

_ONE = {suffix: role for suffix, role in SUFFIXES.items() if "." not in suffix}
_TWO = {suffix: role for suffix, role in SUFFIXES.items() if suffix.count(".") == 1}
_LONG = {suffix: role for suffix, role in SUFFIXES.items() if suffix.count(".") > 1}

_ODD = (
    # diffusers attention processors: ...processor.to_q_lora.down.weight, XLabs: ...processor.qkv_lora1.up.weight
    re.compile(r"^(?P<name>.+_lora\d)\.(?P<role>down|up)(?:\.weight)?$"),
    re.compile(r"^(?P<name>.+)_lora\.(?P<role>down|up)(?:\.weight)?$"),
    # a converter that joined everything with underscores: lora_unet_..._to_k_lora_down.weight
    re.compile(r"^(?P<name>.+)_lora_(?P<role>down|up)\.weight$"),
    # cloneofsimo: unet:17:down
    re.compile(r"^(?P<name>(?:unet|text_encoder):\d+):(?P<role>down|up)$"),
    re.compile(r"^(?P<name>.+)\.lora\.(?P<role>down|up)$"),
)


_CACHED_LENGTH = 160
_CACHED_KEYS = 16_384


class KeyParts(NamedTuple):
    """A key of a LoRA file, taken apart."""

    name: str
    """What comes before the suffix: the name of the layer in the file's own spelling."""
    role: str


def split_key(key: str) -> KeyParts | None:
    """Layer and role of a key; ``None`` for a key that belongs to no adapter format.

    >>> split_key("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight")
    KeyParts(name='lora_unet_double_blocks_0_img_attn_qkv', role='down')
    """
    return _split_cached(key) if len(key) <= _CACHED_LENGTH else _split(key)


def _split(key: str) -> KeyParts | None:
    head, _, last = key.rpartition(".")
    role = _ONE.get(last)
    if role is not None and head:
        return KeyParts(head, role)
    if last == "diff_m" and head:  # LightX2V: the difference of the layer's own table of modulations
        return KeyParts(f"{head}.modulation", "diff")
    name, _, last_but_one = head.rpartition(".")
    role = _TWO.get(f"{last_but_one}.{last}")
    if role is not None and name:
        return KeyParts(name, role)
    for suffix, role in _LONG.items():
        if key.endswith(suffix) and key[: -len(suffix)].endswith("."):
            return KeyParts(key[: -len(suffix) - 1], role)
    if len(key) > 512:
        return None  # longer than any real key: the patterns below are not for it
    if ":" not in key and "lora" not in key:
        return None
    for pattern in _ODD:
        match = pattern.match(key)
        if match:
            return KeyParts(match["name"], match["role"])
    return None


# The files of a collection share most of their keys. Long keys are left out: a hostile file could fill the memory.
_split_cached = lru_cache(_CACHED_KEYS)(_split)
