"""What a link may depend on: something in the file that its layer names do not show (``Link.when``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from ..lora.file import LoraFile

_LONGEST = 1_000_000
_FACTORS = (".lora_A.default.weight", ".lora_B.default.weight")
_NATIVE_H3 = ".attn.qkv_proj"


def _gate_first(file: LoraFile) -> bool:
    """SimpleTuner says so where the rows of a gated MLP are ``[gate; up]``, as MiniMax-H3 itself has them."""
    text = file.header.metadata.get("lora_adapter_metadata", "")
    if len(text) > _LONGEST or "swiglu_gate_first" not in text:
        return False
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(fields, dict):
        return False
    found = cast("dict[str, Any]", fields)
    return any(key.rpartition(".")[2] == "swiglu_gate_first" and value is True for key, value in found.items())


def _diffsynth(file: LoraFile) -> bool:
    """PEFT's ``.default.`` inside bare native names: what diffusers goes by, and nobody else writes it."""
    return any(key.endswith(_FACTORS) and _NATIVE_H3 in key for key in file.header.tensors)


CONDITIONS: Mapping[str, Callable[[LoraFile], bool]] = {"gate_first": _gate_first, "diffsynth": _diffsynth}


def holds(when: str, file: LoraFile) -> bool:
    """Whether a condition holds for a file; ``!`` before its name turns it around, and an empty one always holds."""
    if not when:
        return True
    return CONDITIONS[when.removeprefix("!")](file) is not when.startswith("!")
