"""Which tensors of a LoRA file go to which weight: ComfyUI's own mapping, recorded instead of silently dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import comfy.lora
import comfy.lora_convert
import torch
from comfy.weight_adapter import WeightAdapterBase

from ...core.lora.file import LoraLayer
from ...core.match.matches import Match
from ...core.match.name_table import Target, target_key, target_offset
from ..comfyui.model_keys import ModelKeys
from .writer_adapters import WriterAdapter

PatchValue = Any
"""A ``WeightAdapterBase``, or ``("diff", (tensor,))`` or ``("set", (tensor,))``."""


@dataclass(frozen=True)
class MatchedPatch:
    """One patch that ComfyUI makes of the file for this model."""

    lora_key: str
    """Prefix of the tensors, after ComfyUI's conversion."""
    target: Target
    """Key for ``add_patches``: the model key, with offset and function where there are any."""
    value: PatchValue
    file_keys: tuple[str, ...]
    """The tensors that it is made of."""
    difference: str = ""
    """How ComfyUI's own loader differs, empty where it does the same."""
    remark: str = ""
    """What had to be assumed."""
    source: LoraLayer | None = None
    """The layer of the file; ``None`` where only ComfyUI's loader knows of the patch."""
    roles: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    """Its tensors by role, those rows of them that go here."""
    misfit: str = ""
    """Why the shapes of the file and of the model do not go together; empty where they do."""
    cut: bool = False
    """Whether it is made of some rows of the file's tensors, or of all in another order."""

    def comment(self, strength: float) -> str:
        """What the report says about the patch at this strength; empty where it is as ComfyUI's own."""
        at_other_strengths = getattr(self.value, "AT_OTHER_STRENGTHS", "")
        parts = (self.difference, self.remark, "" if strength == 1 else at_other_strengths)
        return "; ".join(part for part in parts if part)

    @property
    def model_key(self) -> str:
        """The full model key."""
        return target_key(self.target)

    @property
    def offset(self) -> tuple[int, int, int] | None:
        """``(dim, start, length)`` of a fused weight, or ``None``."""
        return target_offset(self.target)


@dataclass(frozen=True)
class MatchedFile:
    """A file's patches for one model, and the tensors that nothing took."""

    patches: tuple[MatchedPatch, ...]
    leftovers: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    """All tensors after conversion."""
    cuts: dict[tuple[str, tuple[int, int, int]], PatchValue] = field(default_factory=dict)
    """Shares of a patch that were cut out for a slice, so that the same share is the same object next time."""
    norms: dict[int, tuple[float | None, str]] = field(default_factory=dict)
    """Measured delta norms by ``id`` of the patch; the patches live as long as this object."""
    beside: dict[tuple[int, str, Any], Any] = field(default_factory=dict)
    """By ``id`` of a patch, its key and its offset: the patch as a term beside its weight, or why it cannot be one."""
    dead: dict[int, bool] = field(default_factory=dict)
    """By ``id`` of a patch: whether it changes nothing."""
    stranger: list[Any] = field(default_factory=list)
    """What the comparison of the file with the model's architecture said, once it was made."""
    survival: dict[Any, Any] = field(default_factory=dict)
    """What arrives of patches in quantised weights, by key, ``id`` of the patches and about the strength."""
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


ODD_TENSORS = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)
"""What ComfyUI's loader and adapters raise where tensors are missing or are not what their names say."""


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


def is_adapter(value: PatchValue) -> bool:
    """Whether a patch is one of ComfyUI's adapters (LoRA, LoKr and so on), not a plain difference."""
    return isinstance(value, WeightAdapterBase)


def patch_format(value: PatchValue) -> str:
    """Format of a patch in the field's words: ``lora``, ``dora (lora)``, ``lokr``, ``diff``, ``set``."""
    if isinstance(value, WriterAdapter):
        return value.format
    if is_adapter(value):
        return f"dora ({value.name})" if _dora_scale(value) is not None else str(value.name)
    if isinstance(value, list):
        return "model"
    return value[0] if len(value) == 2 and isinstance(value[0], str) else "diff"


def patch_tensors(value: PatchValue) -> tuple[torch.Tensor, ...]:
    """All tensors that a patch carries."""
    if is_adapter(value):
        weights = value.weights if isinstance(value.weights, (tuple, list)) else (value.weights,)
        return tuple(w for w in weights if isinstance(w, torch.Tensor))
    parts = value[1] if len(value) == 2 and isinstance(value[0], str) else value
    return tuple(part for part in parts if isinstance(part, torch.Tensor))


def patch_rank(value: PatchValue) -> int | None:
    """Rank of a LoRA or LoHa; ``None`` where the format has none or the factors are stored whole."""
    if not is_adapter(value):
        return None
    if value.name == "lora":
        return int(value.weights[1].shape[0])
    if value.name == "loha":
        return int(value.weights[1].shape[0])
    return None


def patch_alpha(value: PatchValue) -> float | None:
    """The stored alpha, or ``None``. Its place in the tuple depends on the adapter."""
    if not is_adapter(value):
        return None
    index = 4 if value.name == "glora" else 2
    alpha = value.weights[index] if len(value.weights) > index else None
    return float(alpha) if isinstance(alpha, (int, float)) else None


def _dora_scale(value: Any) -> torch.Tensor | None:
    index = {"lora": 4, "loha": 7, "lokr": 8, "glora": 5, "oft": 3, "boft": 3}.get(value.name)
    if index is None or len(value.weights) <= index:
        return None
    return value.weights[index]


def has_dora_scale(value: PatchValue) -> bool:
    """Whether the patch also rescales the weight's columns or rows (DoRA)."""
    return is_adapter(value) and _dora_scale(value) is not None
