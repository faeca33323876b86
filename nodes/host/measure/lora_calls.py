"""Counts and times LoRA arithmetic, whichever way the model is loaded.

In every mode a LoRA reaches a weight through ``adapter.calculate_weight``: while loading, in the first evaluation, or
in each one. During a measured run, and only then, the adapters *in the measured patcher's own patch list* belong to a
subclass that takes two marks around that call. Their identity stays, so that whoever compares patches sees no change,
and copies that ComfyUI makes of them on the way to the device are timed too. Nothing of ComfyUI is replaced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from comfy.weight_adapter import WeightAdapterBase

from .clocks import Clock

Sink = Callable[[Any, Any], None]
"""Takes the marks before and after one call."""

_LISTENERS: list[tuple[Clock, Sink]] = []
"""Of the runs that are being measured, innermost last."""

_OWN = "_patchbay_timed"


@contextmanager
def timed_adapters(patcher: Any, clock: Clock, sink: Sink) -> Iterator[int]:
    """Time the adapters of ``patcher`` inside the block; yields how many patches are none and cannot be timed."""
    changed: list[tuple[Any, type]] = []
    untimed = 0
    listener = (clock, sink)
    try:
        for entries in patcher.patches.values():
            for entry in entries:
                adapter = entry[1]
                if not isinstance(adapter, WeightAdapterBase):
                    untimed += 1
                elif not hasattr(type(adapter), _OWN):
                    changed.append((adapter, type(adapter)))
                    adapter.__class__ = _timed_class(type(adapter))
        _LISTENERS.append(listener)
        yield untimed
    finally:
        if listener in _LISTENERS:
            _LISTENERS.remove(listener)
        for adapter, original in changed:
            adapter.__class__ = original


@functools.lru_cache(maxsize=64)
def _timed_class(kind: type) -> type:
    """A subclass of an adapter class that differs in nothing but the marks."""

    def calculate_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = [(clock, sink, clock.mark()) for clock, sink in _LISTENERS]
        result = kind.calculate_weight(self, *args, **kwargs)
        for clock, sink, mark in before:
            sink(mark, clock.mark())
        return result

    return type(kind.__name__, (kind,), {"calculate_weight": calculate_weight, _OWN: True, "__module__": __name__})
