"""Whether the weights that are patched when they are used were patched in an evaluation.

Where a model does not lie on the device as a whole, ComfyUI hangs a function on each layer that patches its weight
whenever it is used (dynamic VRAM: whenever it is staged). During one evaluation the lists behind these functions hold a
stand-in for each adapter, which notes that it was asked; the adapters themselves stay as they are.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from comfy.weight_adapter import WeightAdapterBase

from ..comfyui.private import patched_at_use

_NUMBERS = itertools.count()
_MODULES: weakref.WeakKeyDictionary[Any, weakref.WeakValueDictionary[str, Any]] = weakref.WeakKeyDictionary()
"""By loaded model, its modules by name: to walk through all of them takes milliseconds."""
_RAN: dict[int, set[str]] = {}
"""By number of what is watched now: keys whose adapters were asked."""


class _Note:
    """In a stand-in, what an adapter has as ``loaded_keys``: beside the tensors the one thing that is handed on to the
    copies which ComfyUI makes on the way to the device."""

    __slots__ = ("key", "number")

    def __init__(self, number: int, key: str) -> None:
        self.number, self.key = number, key


@dataclass
class WatchedFunctions:
    """The weights that have to be patched in an evaluation, and those that were."""

    expected: list[str] = field(default_factory=list)
    ran: set[str] = field(default_factory=set)

    def missed(self) -> list[str]:
        """Keys of weights that were used without their patch, or not at all."""
        return [key for key in self.expected if key not in self.ran]


def at_use(patcher: Any) -> Iterable[tuple[dict[str, Any], str]]:
    """(table, key) of the weights of the loaded model that their next use patches."""
    model = patcher.model
    if not patcher.patches:
        return ()
    if model not in _MODULES:
        _MODULES[model] = weakref.WeakValueDictionary(model.named_modules())
    return patched_at_use(patcher, _MODULES[model])


@contextmanager
def watched_functions(patcher: Any) -> Iterator[WatchedFunctions]:
    """Watch the weight functions of the loaded model inside the block; empty where all weights are patched already."""
    watched, number = WatchedFunctions(), next(_NUMBERS)
    replaced: list[tuple[dict[str, Any], str, Any, Any]] = []
    _RAN[number] = watched.ran
    try:
        for table, key in list(at_use(patcher)):
            entries = table[key]
            if not entries or not all(map(_can_stand_in, entries)):
                continue  # differences and, during a measurement, its own stand-ins
            noting = [(entry[0], _stand_in(entry[1], key, number), *entry[2:]) for entry in entries]
            table[key] = noting
            replaced.append((table, key, entries, noting))
            watched.expected.append(key)
        yield watched
    finally:
        del _RAN[number]
        for table, key, entries, noting in replaced:
            if table.get(key) is noting:  # else somebody has replaced it meanwhile
                table[key] = entries


def _can_stand_in(entry: tuple[Any, ...]) -> bool:
    return isinstance(entry[1], WeightAdapterBase) and not hasattr(entry[1], "stands_for")


def _stand_in(adapter: Any, key: str, number: int) -> Any:
    stand_in = object.__new__(_noting_class(type(adapter)))
    own = stand_in.__dict__
    own.update(adapter.__dict__)
    own["stands_for"], own["loaded_keys"] = adapter, _Note(number, key)
    return stand_in


@functools.lru_cache(maxsize=64)
def _noting_class(kind: type) -> type:
    """A subclass of an adapter class that differs in nothing but the note."""

    def calculate_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
        note = self.loaded_keys
        if note.number in _RAN:
            _RAN[note.number].add(note.key)
        return kind.calculate_weight(self, *args, **kwargs)

    return type(kind.__name__, (kind,), {"calculate_weight": calculate_weight, "__module__": __name__})
