"""Which LoRAs lie before a node, with which strengths: read from the prompt that ComfyUI executes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

_NAME = re.compile(r"lora(?:_name)?_?\d*")
"""Inputs in which loaders, ComfyUI's and those of other packs, name a LoRA."""
_STRENGTHS = ("strength_model", "strength", "lora_strength", "weight")
_MOST_LORAS = 32


@dataclass(frozen=True)
class UsedLora:
    """A LoRA that a node before this one names, and what it asks for."""

    name: str
    """File name as the node has it."""
    strength_model: float | None
    """``None`` where another node gives the number."""
    strength_clip: float | None
    """``None`` where there is no such input, no CLIP comes in, or another node gives the number."""
    blocks: str
    """Strength by block in one line; empty for all ones, ``...`` where another node gives the text."""


def loras_before(prompt: Mapping[str, Any] | None, node_id: str | None, input_name: str) -> tuple[UsedLora, ...]:
    """The LoRAs on the way to one input of a node, in the order in which they are reached from the loaders.

    A node counts if it has a LoRA's name together with a strength: an inspection has none. A node that a switch does
    not take counts too, because the prompt does not say which way was taken. What does not read like a prompt yields
    nothing.

    Args:
        prompt: ComfyUI's prompt: node id to ``{"class_type": ..., "inputs": {...}}``.
    """
    if not isinstance(prompt, Mapping) or node_id is None:
        return ()
    start = _source(_inputs(prompt, str(node_id)).get(input_name))
    if start is None:
        return ()
    found = [lora for key in _before(prompt, start) for lora in _loras_of(prompt, key)]
    return tuple(found[:_MOST_LORAS])


def used_text(loras: tuple[UsedLora, ...]) -> str:
    """``ink x 0.8 (single_blocks.*=0), sketch x 1``; empty without a LoRA."""
    return ", ".join(_text(lora) for lora in loras)


def _text(lora: UsedLora) -> str:
    strength = "?" if lora.strength_model is None else f"{lora.strength_model:g}"
    if lora.strength_clip is not None and lora.strength_clip != lora.strength_model:
        strength += f" / {lora.strength_clip:g}"
    stem = PurePosixPath(lora.name.replace("\\", "/")).stem
    return f"{stem} x {strength}" + (f" ({lora.blocks})" if lora.blocks else "")


def _before(prompt: Mapping[str, Any], start: str) -> Iterator[str]:
    """``start`` and all nodes that it depends on, each once and after what it depends on itself."""
    entered: set[str] = set()
    waiting = [(start, False)]
    while waiting:
        key, done = waiting.pop()
        if done:
            yield key
            continue
        if key in entered:
            continue
        entered.add(key)
        waiting.append((key, True))
        # A text of strengths is no picture's way: what computed it applied nothing.
        sources = [_source(value) for name, value in _inputs(prompt, key).items() if name != "blocks"]
        waiting.extend((source, False) for source in reversed(sources) if source is not None)


def _loras_of(prompt: Mapping[str, Any], key: str) -> Iterator[UsedLora]:
    inputs = _inputs(prompt, key)
    for name, value in inputs.items():
        if not _NAME.fullmatch(name):
            continue
        if isinstance(value, Mapping):  # a row of a loader with many LoRAs: {"on": true, "lora": ..., "strength": ...}
            if value.get("on", True) and isinstance(value.get("lora"), str) and "strength" in value:
                yield UsedLora(value["lora"], _number(prompt, value["strength"]), None, "")
        elif isinstance(value, str) and value not in ("", "None"):
            strength = next((inputs[each] for each in _STRENGTHS if each in inputs), None)
            if strength is not None:
                clip = inputs.get("strength_clip") if _source(inputs.get("clip")) else None
                yield UsedLora(value, _number(prompt, strength), _number(prompt, clip), _blocks(inputs.get("blocks")))


def _number(prompt: Mapping[str, Any], value: Any) -> float | None:
    """A number, also one that a node with nothing but a ``value`` gives."""
    source = _source(value)
    if source is not None:
        value = _inputs(prompt, source).get("value")
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else None


def _blocks(value: Any) -> str:
    if _source(value) is not None:
        return "..."
    lines = value.splitlines() if isinstance(value, str) else ()
    return ", ".join(line.strip().strip(",") for line in lines if line.strip())


def _source(value: Any) -> str | None:
    """The node that a link ``[node id, output]`` comes from."""
    is_link = isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[1], int)
    return str(value[0]) if is_link else None


def _inputs(prompt: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    node = prompt.get(key)
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    return inputs if isinstance(inputs, Mapping) else {}
