"""Which tensors of a LoRA file go to which weight: ComfyUI's own mapping, recorded instead of silently dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import comfy.lora
import comfy.lora_convert
import torch

from ...core.lora.file import LoraLayer
from ...core.match.matches import Match
from ...core.match.name_table import Target
from ..comfyui.model_keys import ModelKeys
from .patch import MatchedPatch
from .roles import ODD_TENSORS


@dataclass(frozen=True)
class MatchedFile:
    """A file's patches for one model, and the tensors that nothing took."""

    patches: tuple[MatchedPatch, ...]
    leftovers: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    """All tensors after conversion."""
    stranger: list[Any] = field(default_factory=list)
    """What the comparison of the file with the model's architecture said, once it was made."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """By tensor: why ComfyUI's loader could make nothing of it."""
    layers: tuple[LoraLayer, ...] | None = None
    """The file's layers with their final scales; ``None`` where they are as the file's header says."""
    misses: tuple[Match, ...] | None = None
    """The layers that became no patch, with the reason; ``None`` where nobody judged them (ComfyUI's own loader)."""


class _Recorder(dict[str, torch.Tensor]):
    """A state dict that notes which of its entries were really read."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(tensors)
        self.read: dict[str, None] = {}

    def __getitem__(self, key: str) -> torch.Tensor:
        value = super().__getitem__(key)
        self.read[key] = None
        return value

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default


def match_file(tensors: Mapping[str, torch.Tensor], keys: ModelKeys) -> MatchedFile:
    """Run ComfyUI's conversion and mapping over the tensors of a file: what its own loader makes of it.

    The result holds the same patches, in the same order, as ``comfy.lora.load_lora`` over the whole key map. Each
    prefix is loaded on its own, because the set of keys that ComfyUI's adapters carry is shared by all of them and
    cannot tell which tensor went where.
    """
    converted = _Recorder(comfy.lora_convert.convert_lora(dict(tensors)))
    prefixes = _possible_prefixes(converted)
    found: dict[Target, MatchedPatch] = {}
    used: set[str] = set()
    failed: dict[str, str] = {}
    for prefix, target in keys.key_map.items():
        if prefix not in prefixes:
            continue
        converted.read = {}
        try:
            patches = comfy.lora.load_lora(converted, {prefix: target}, log_missing=False)
        except ODD_TENSORS as error:
            failed.update(dict.fromkeys(converted.read, f"ComfyUI's own loader stops at it ({type(error).__name__})"))
            continue
        used.update(converted.read)
        for patch_target, value in patches.items():
            read = tuple(converted.read)
            found[patch_target] = MatchedPatch(prefix, patch_target, value, read)
    leftovers = tuple(key for key in converted if key not in used)
    return MatchedFile(tuple(found.values()), leftovers, dict(converted), failed=failed)


def _possible_prefixes(keys: Iterable[str]) -> set[str]:
    """Every dotted prefix of every key, also without the ``_lora`` that old diffusers files put behind it."""
    prefixes: set[str] = set()
    for key in keys:
        prefix, dot = key, "."
        while dot and prefix not in prefixes:  # what is known has all its own prefixes in the set already
            prefixes.add(prefix)
            prefixes.add(prefix.removesuffix("_lora"))
            prefix, dot, _ = prefix.rpartition(".")
    return prefixes
