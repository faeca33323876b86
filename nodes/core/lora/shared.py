"""Layers that several files share: a library holds many files whose tensors are called, shaped and scaled alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from .file import LoraFile, LoraLayer


@dataclass(eq=False)
class SharedLayers:
    """The layers of every file of one kind, and what was found out about them: it is the same for the next file."""

    layers: tuple[LoraLayer, ...]
    by_words: dict[str, Any] = field(default_factory=dict[str, Any])
    """What follows from the layers and some words of the metadata."""
    by_model: WeakKeyDictionary[Any, Any] = field(default_factory=WeakKeyDictionary)
    """What follows from the layers and a model, as long as that lives."""


def shared_by(file: LoraFile, layers: tuple[LoraLayer, ...]) -> SharedLayers | None:
    """What a file shares with others, if ``layers`` are its own as they were read."""
    shared = file.shared
    return shared if shared is not None and shared.layers is layers else None
