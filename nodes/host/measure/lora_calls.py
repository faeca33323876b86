"""Counts and times LoRA arithmetic, whichever way the model is loaded.

In every mode a LoRA reaches a weight through ``adapter.calculate_weight``: while loading, in the first evaluation, or
in each one. During a measured run, and only then, the patch lists that this model's weights are made from hold a
stand-in for each adapter, which takes two marks around that call. The adapters themselves, which other models share,
stay as they are; copies that ComfyUI makes of a stand-in on the way to the device are timed too, and whoever compares
patches asks what a stand-in stands for (:func:`..restage.patch_lists.meant`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from comfy.weight_adapter import WeightAdapterBase

from ..comfyui.private import lazy_tables

Mark = Callable[[], Any]
Sink = Callable[[Any, Any], None]
"""Takes the marks before and after one call."""

_LISTENERS: list[tuple[Mark, Sink]] = []
"""Of the runs that are being measured, innermost last."""

_Table = dict[str, list[tuple[Any, ...]]]


@contextmanager
def timed_adapters(patcher: Any, mark: Mark, sink: Sink) -> Iterator[int]:
    """Time the adapters of ``patcher`` inside the block; yields how many patches are none and cannot be timed."""
    tables: list[_Table] = [patcher.patches]
    tables += [table for table in lazy_tables(patcher.model) if table is not patcher.patches]
    replaced: list[tuple[_Table, str, list[tuple[Any, ...]], list[tuple[Any, ...]]]] = []
    untimed = sum(not _can_stand_in(entry) for entries in patcher.patches.values() for entry in entries)
    listener = (mark, sink)
    try:
        for table in tables:
            for key, entries in list(table.items()):
                timed = [_with_stand_in(entry) for entry in entries]
                replaced.append((table, key, entries, timed))
                table[key] = timed
        _LISTENERS.append(listener)
        yield untimed
    finally:
        if listener in _LISTENERS:
            _LISTENERS.remove(listener)
        for table, key, entries, timed in reversed(replaced):
            if table.get(key) is timed:  # else somebody has replaced it meanwhile
                table[key] = entries


def _can_stand_in(entry: tuple[Any, ...]) -> bool:
    return isinstance(entry[1], WeightAdapterBase)


def _with_stand_in(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    """The entry of a patch list with a stand-in for its adapter; one that has a stand-in already, or none, as it is."""
    adapter = entry[1]
    if not _can_stand_in(entry) or hasattr(adapter, "stands_for"):
        return entry
    stand_in = object.__new__(_timed_class(type(adapter)))
    vars(stand_in).update(vars(adapter), stands_for=adapter)
    return (entry[0], stand_in, *entry[2:])


@functools.lru_cache(maxsize=64)
def _timed_class(kind: type) -> type:
    """A subclass of an adapter class that differs in nothing but the marks."""

    def calculate_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = [(mark, sink, mark()) for mark, sink in _LISTENERS]
        result = kind.calculate_weight(self, *args, **kwargs)
        for mark, sink, first in before:
            sink(first, mark())
        return result

    return type(kind.__name__, (kind,), {"calculate_weight": calculate_weight, "__module__": __name__})
