"""Scales that stand in the metadata of a LoRA file, not in its tensors.

diffusers writes the PEFT configuration of each component as JSON under ``lora_adapter_metadata``; SimpleTuner and
others write single fields. ComfyUI reads neither.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

ADAPTER_METADATA = "lora_adapter_metadata"
HEADER_ALPHAS = ("lora_alpha", "transformer.lora_alpha", "unet.lora_alpha", "network_alpha", "alpha")
"""Single fields that give one alpha for the whole file: for every layer without an alpha tensor, whatever its rank.
``alpha`` is what diffusers reads (``MiniMaxH3LoraLoaderMixin``, pull request 14408)."""

PLACEHOLDER = 1e9
"""From here on an alpha is the trainer's word for "none" (ai-toolkit writes 9999999999 for whole LoKr factors)."""

_MAX_JSON = 4_000_000
_MAX_PATTERNS = 2_000
_COMPONENTS = ("transformer_2", "transformer", "unet", "text_encoder_3", "text_encoder_2", "text_encoder")
# What PEFT users write as patterns. Repetition only after a dot or a digit class, so that a hostile file cannot make
# the match slow.
_SAFE_PATTERN = re.compile(r"^\^?(?:\\?[\w.-]|\\[.d]\+?|\(|\)(?![*+{?])|\||\.\*(?![*+?]))*\$?$")


@dataclass(frozen=True)
class _PeftScale:
    """The scale part of one component's PEFT configuration."""

    alpha: float
    rslora: bool
    patterns: tuple[tuple[str, re.Pattern[str], float], ...] = ()

    def of(self, layer: str, rank: int) -> tuple[float, str, float]:
        alpha, source = self.alpha, "lora_adapter_metadata"
        for text, pattern, value in self.patterns:
            if pattern.match(layer):
                alpha, source = value, f"lora_adapter_metadata, alpha_pattern {text[:60]}"
                break
        if self.rslora:
            return alpha / math.sqrt(rank), f"{source}, rsLoRA: alpha / sqrt(rank)", alpha
        return alpha / rank, source, alpha


@dataclass(frozen=True)
class HeaderScale:
    """What the metadata of a file says about scale."""

    components: Mapping[str, _PeftScale] = field(default_factory=dict[str, _PeftScale])
    """By the prefix of the layer names (``transformer``), or under the empty name for all."""
    alpha: float | None = None
    alpha_field: str = ""
    fallback: str = ""
    """A sentence about an alpha that is mentioned and not used."""
    notes: tuple[str, ...] = ()

    @property
    def says_nothing(self) -> bool:
        """Whether no layer gets its scale from here."""
        return not self.components and self.alpha is None

    def of(self, name: str, rank: int) -> tuple[float, str, float] | None:
        """Scale, source and alpha of a layer without an alpha tensor; ``None`` where nothing is said."""
        component, _, layer = name.partition(".")
        if component in self.components:
            return self.components[component].of(layer, rank)
        if "" in self.components:
            return self.components[""].of(_strip(name), rank)
        if self.alpha is not None:
            return self.alpha / rank, f"header alpha ({self.alpha_field})", self.alpha
        return None


def read_header_scale(metadata: Mapping[str, str]) -> HeaderScale:
    """Collect every scale that ``metadata`` states; what cannot be believed becomes a note."""
    notes: list[str] = []
    components = _read_peft(metadata.get(ADAPTER_METADATA, ""), notes)
    for name in HEADER_ALPHAS:
        alpha = _number(metadata.get(name))
        if alpha is not None and alpha < PLACEHOLDER:
            return HeaderScale(components, alpha, name, notes=tuple(notes))
    fallback = ""
    alpha = _number(metadata.get("ss_network_alpha"))
    if alpha is not None:
        fallback = (
            f"ss_network_alpha says alpha {alpha:g}, but the file has no alpha tensors: scale 1 is used, "
            "as whoever removed them probably put the scale into the weights."
        )
    return HeaderScale(components, fallback=fallback, notes=tuple(notes))


def _read_peft(text: str, notes: list[str]) -> dict[str, _PeftScale]:
    if not text:
        return {}
    try:
        data = json.loads(text) if len(text) <= _MAX_JSON else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        notes.append(f"{ADAPTER_METADATA} is not JSON that can be read; its scale is not used.")
        return {}
    groups: dict[str, dict[str, Any]] = {}
    for key, value in cast("dict[str, Any]", data).items():
        component = next((c for c in _COMPONENTS if key.startswith(f"{c}.")), "")
        groups.setdefault(component, {})[key[len(component) + 1 :] if component else key] = value
    scales: dict[str, _PeftScale] = {}
    for component, fields in groups.items():
        scale = _peft_scale(fields, notes)
        if scale is not None:
            scales[component] = scale
    return scales


def _peft_scale(fields: Mapping[str, Any], notes: list[str]) -> _PeftScale | None:
    alpha = _number(fields.get("lora_alpha"))
    if alpha is None:
        return None
    patterns: list[tuple[str, re.Pattern[str], float]] = []
    given = fields.get("alpha_pattern")
    for text, value in (
        list(cast("dict[str, Any]", given).items())[:_MAX_PATTERNS] if isinstance(given, dict) else ()
    ):
        number = _number(value)
        if number is None or len(text) > 500 or not _SAFE_PATTERN.match(text) or text.count(".*") > 2:
            notes.append(f'alpha_pattern "{text[:80]}" is not understood and not used.')
            continue
        try:
            patterns.append((text, re.compile(rf"(?:.*\.)?(?:{text})$"), number))
        except re.error:
            notes.append(f'alpha_pattern "{text[:80]}" is not understood and not used.')
    return _PeftScale(alpha, fields.get("use_rslora") is True, tuple(patterns))


def _number(value: Any) -> float | None:
    """A finite number from a JSON number or a text like ``16.0``."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value) if isinstance(value, (int, float)) or len(str(value)) < 40 else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _strip(name: str) -> str:
    for prefix in ("base_model.model.", "diffusion_model.", *(f"{c}." for c in _COMPONENTS)):
        name = name.removeprefix(prefix)
    return name
