"""Tensors of a LoRA file that belong to no adapter: replaced weights, what is harmless, and what is not understood."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

PARAMETERS = ("weight", "bias")

_ADAPTER_PART = re.compile(
    r"^(?:lora|lokr|loha|lycoris|hada|glora|dora|vera|oft|boft|ia3|hra|road|miss|bone|shira|waveft|fourierft|vblora"
    r"|randlora|c3a)_\w+$|^lora[A-Z]\w*$|^lora$"
)
"""A part of a key that says "adapter": what comes before it is the layer's name, whether the kind is known or not."""

_EMBEDDING = re.compile(r"^bundle_emb\.|\.string_to_param\.|^emb_params$|^<[^.]*>$")


@dataclass
class Strangers:
    """The tensors that no adapter takes, sorted."""

    replaced: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """Name, parameter and key of tensors that are called like a weight of the model: full replacements, if the model
    has such a weight."""
    unknown: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """Layer name to end of key to key."""
    embeddings: list[str] = field(default_factory=list[str])
    """Textual-inversion embeddings that ride along."""


def sort_strangers(keys: Iterable[str]) -> Strangers:
    """Sort the keys that belong to no adapter.

    >>> sort_strangers(["blocks.0.q.lora_S.weight"]).unknown
    {'blocks.0.q': {'lora_S.weight': 'blocks.0.q.lora_S.weight'}}
    >>> sort_strangers(["adaln_t_table", "head.bias"]).replaced
    [('adaln_t_table', 'weight', 'adaln_t_table'), ('head', 'bias', 'head.bias')]
    """
    found = Strangers()
    for key in keys:
        if _EMBEDDING.search(key):
            found.embeddings.append(key)
            continue
        parts = key.split(".")
        cut = next((i for i, part in enumerate(parts) if i and _ADAPTER_PART.match(part)), None)
        if cut is not None:
            found.unknown.setdefault(".".join(parts[:cut]), {})[".".join(parts[cut:])] = key
        elif len(parts) > 1 and parts[-1] in PARAMETERS:
            found.replaced.append((".".join(parts[:-1]), parts[-1], key))
        else:
            found.replaced.append((key, "weight", key))
    return found
