"""Clocks for model evaluations: device events where the device has them, the host's clock elsewhere."""

from __future__ import annotations

import time
from typing import Any, Protocol

import comfy.model_management
import torch

HOST, EVENTS, SYNCHRONISED = "host clock", "device events", "host clock, synchronised"


class Clock(Protocol):
    """Takes marks now and tells the time between two of them later."""

    name: str

    def mark(self) -> Any:
        """A point in the device's work, without waiting for it."""
        ...

    def between(self, first: Any, second: Any) -> float:
        """Milliseconds; only after :meth:`synchronise`."""
        ...

    def synchronise(self) -> None:
        """Wait until the device has done everything that was asked of it."""
        ...


class HostClock:
    """For devices whose work is done when the call returns: the CPU."""

    name = HOST

    def mark(self) -> int:
        return time.perf_counter_ns()

    def between(self, first: int, second: int) -> float:
        return (second - first) / 1e6

    def synchronise(self) -> None:
        """Nothing runs behind the host's back."""


class SynchronisedClock(HostClock):
    """Waits for the device at every mark. Exact for one evaluation, but the device idles while the host prepares."""

    name = SYNCHRONISED

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> int:
        self.synchronise()
        return time.perf_counter_ns()

    def synchronise(self) -> None:
        backend = _backend(self._device)
        if backend is not None and self._device.type == "mps":
            backend.synchronize()
        elif backend is not None:
            backend.synchronize(self._device)
        else:
            comfy.model_management.synchronize()


class EventClock:
    """Events on the stream that computes: what waits for copies of weights counts, the host never waits."""

    name = EVENTS

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._backend = _backend(device)

    def mark(self) -> Any:
        event = self._backend.Event(enable_timing=True)
        event.record()
        return event

    def between(self, first: Any, second: Any) -> float:
        return float(first.elapsed_time(second))

    def synchronise(self) -> None:
        if self._device.type == "mps":
            self._backend.synchronize()
        else:
            self._backend.synchronize(self._device)


def clock_for(device: torch.device, strict: bool = False) -> Clock:
    """The clock for a device; ``strict`` waits for the device at every mark, also where events would do."""
    if device.type == "cpu":
        return HostClock()
    if not strict and _has_events(device):
        return EventClock(device)
    return SynchronisedClock(device)


def _backend(device: torch.device) -> Any:
    """``torch.cuda`` (NVIDIA and AMD), ``torch.xpu``, ``torch.mps``, or ``None``."""
    return getattr(torch, device.type, None) if device.type in ("cuda", "xpu", "mps") else None


def _has_events(device: torch.device) -> bool:
    backend = _backend(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        return False
    try:
        backend.Event(enable_timing=True)
    except (AttributeError, TypeError, RuntimeError, NotImplementedError):
        return False
    return True
