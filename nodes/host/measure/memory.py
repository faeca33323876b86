"""Memory of a sampling, split into what it is, on whatever device it runs.

torch's counters do not see the weights that dynamic VRAM keeps in pages of its own, the operating system's do not say
what the memory is for, and the driver's include other programs. Each figure is therefore read where it is known, and
the peak of the process is an interval: not below the largest value seen, not above the sum of the parts' peaks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import psutil
import torch

from ...core.measure.runs import Figure, MemoryFigures
from ..comfyui.private import cast_buffer_bytes, is_dynamic, page_bytes, pinned_bytes, stream_buffer_bytes
from .memory_nvml import Nvml
from .memory_poll import Poller

_NO_DEVICE = "the model runs on the CPU: its memory is main memory"


class MemoryWatch:
    """Readings of one run: :meth:`start` before it, :meth:`boundary` between evaluations, :meth:`finish` after it."""

    def __init__(self, device: torch.device, poll: bool = True) -> None:
        self._device = device
        self._process = psutil.Process()
        self._nvml = Nvml(device) if device.type == "cuda" and torch.version.cuda else None
        self._poller = Poller(self._readers() if poll else {})
        self._high_water_before: int | None = None
        self._weights_peak = 0
        self._cast_peak = 0
        self._overhead: list[int] = []
        self._others = 0

    def start(self) -> None:
        """Set torch's peaks back and begin to poll."""
        if self._device.type in ("cuda", "xpu"):
            getattr(torch, self._device.type).reset_peak_memory_stats(self._device)
        self._high_water_before = high_water()
        own, used = self._own_bytes(), self._device_used()
        if own is not None and used is not None:
            self._others = max(0, used - own)
        self._note_overhead()
        self._poller.start()

    def boundary(self) -> None:
        """Read what only this thread may read."""
        self._weights_peak = max(self._weights_peak, page_bytes(self._device) or 0)
        self._cast_peak = max(self._cast_peak, cast_buffer_bytes() or 0)

    def stop(self) -> None:
        """End polling; safe to call at any time."""
        self._poller.stop()

    def finish(self, patcher: Any, kept_peaks: tuple[int, int] = (0, 0)) -> MemoryFigures:
        """All figures, after the device has done its work.

        Args:
            patcher: The ``ModelPatcher`` that was sampled.
            kept_peaks: torch's peaks (allocated, reserved) from before somebody set the counters back.
        """
        self.boundary()
        self._poller.stop()
        self._note_overhead()
        allocated, reserved = self._torch_peaks(kept_peaks)
        ram_low, ram_high = self._ram()
        low, high = self._process_interval(reserved, ram_low, ram_high)
        dynamic = is_dynamic(patcher)
        cast = cast_buffer_bytes()
        return MemoryFigures(
            weights_total=_read(patcher.model_size, "the size of the model is not known"),
            weights_resident=_read(patcher.loaded_size, "this loader does not tell"),
            torch_allocated_peak=allocated,
            torch_reserved_peak=reserved,
            cast_buffers=Figure.missing(_NO_DEVICE if self._on_cpu else "this ComfyUI does not tell")
            if cast is None or self._on_cpu
            else Figure(max(cast, self._cast_peak)),
            process_low=low,
            process_high=high,
            device_used_peak=self._used_peak(),
            pinned_ram=_read(patcher.pinned_memory_size, "this ComfyUI does not tell")
            if dynamic
            else _pinned(self._on_cpu),
            ram_low=ram_low,
            ram_high=ram_high,
        )

    @property
    def polling(self) -> bool:
        """Whether the polling thread is alive."""
        return self._poller.running

    @property
    def _on_cpu(self) -> bool:
        return self._device.type == "cpu"

    def _readers(self) -> dict[str, Callable[[], int | None]]:
        readers: dict[str, Callable[[], int | None]] = {"ram": lambda: self._process.memory_info().rss}
        if self._device.type == "cuda":
            readers["used"] = self._device_used
            if self._nvml is not None and not self._nvml.reason:
                readers["process"] = _slowly(self._nvml.process_bytes, every=5)
        elif self._device.type == "mps":
            readers["process"] = torch.mps.driver_allocated_memory
        elif self._device.type == "xpu":
            readers["used"] = self._device_used
        return readers

    def _device_used(self) -> int | None:
        if self._device.type not in ("cuda", "xpu"):
            return None
        backend = getattr(torch, self._device.type)
        if not hasattr(backend, "mem_get_info"):
            return None
        free, total = backend.mem_get_info(self._device)
        return total - free

    def _own_bytes(self) -> int | None:
        """Device memory of this process as the driver tells it now."""
        return self._nvml.process_bytes() if self._nvml is not None else None

    def _note_overhead(self) -> None:
        """What the process holds on the device beyond torch, weight pages and cast buffers: context and libraries."""
        if self._device.type not in ("cuda", "xpu"):
            return
        own = self._own_bytes()
        whole = own if own is not None else self._device_used()
        if whole is not None:
            backend = getattr(torch, self._device.type)
            known = backend.memory_reserved(self._device)
            known += (page_bytes(self._device) or 0) + (stream_buffer_bytes() or 0)
            self._overhead.append(max(0, whole - known))

    def _torch_peaks(self, kept: tuple[int, int]) -> tuple[Figure, Figure]:
        if self._device.type not in ("cuda", "xpu"):
            reason = _NO_DEVICE if self._on_cpu else f"torch has no such counter for {self._device.type}"
            return Figure.missing(reason), Figure.missing(reason)
        backend = getattr(torch, self._device.type)
        return (
            Figure(max(kept[0], backend.max_memory_allocated(self._device))),
            Figure(max(kept[1], backend.max_memory_reserved(self._device))),
        )

    def _ram(self) -> tuple[Figure, Figure]:
        low = self._polled("ram", "the process cannot be read")
        mark = high_water()
        if mark is None:
            return low, Figure.missing("this system keeps no high-water mark of a process")
        return low, Figure(max(mark, int(low.value or 0)))

    def _process_interval(self, reserved: Figure, ram_low: Figure, ram_high: Figure) -> tuple[Figure, Figure]:
        if self._on_cpu:
            return ram_low, ram_high
        low = self._polled("process", self._nvml.reason if self._nvml is not None else "")
        used = self._used_peak()
        if used.value is not None and (low.value is None or used.value - self._others > low.value):
            how = "device in use less what other programs held before the run"
            whole = "device in use: the driver does not tell memory by process, other programs are included"
            known = low.value is not None
            low = Figure(used.value - self._others, how if known else whole)
        if reserved.value is None or not self._overhead:
            return low, Figure.missing("the parts are not known on this device")
        high = reserved.value + self._weights_peak + self._cast_bytes_outside_torch() + max(self._overhead)
        return low, Figure(max(high, low.value or 0.0))

    def _cast_bytes_outside_torch(self) -> int:
        return max(self._cast_peak if page_bytes(self._device) is not None else 0, stream_buffer_bytes() or 0)

    def _used_peak(self) -> Figure:
        reason = _NO_DEVICE if self._on_cpu else f"{self._device.type} does not say what is in use"
        return self._polled("used", reason)

    def _polled(self, name: str, reason: str) -> Figure:
        if name in self._poller.errors:
            return Figure.missing(self._poller.errors[name])
        value = self._poller.peaks.get(name)
        return Figure.missing(reason or "not told by the driver") if value is None else Figure(value)


def _slowly(read: Callable[[], int | None], every: int) -> Callable[[], int | None]:
    """A reader that does its work at each ``every``-th call only."""
    calls = -1

    def reader() -> int | None:
        nonlocal calls
        calls += 1
        return read() if calls % every == 0 else None

    return reader


def _read(read: Callable[[], Any], reason: str) -> Figure:
    try:
        value = read()
    except Exception as error:  # a patcher of another pack may lack or break any of these
        return Figure.missing(f"{reason} ({type(error).__name__})")
    return Figure(int(value)) if isinstance(value, (int, float)) else Figure.missing(reason)


def _pinned(on_cpu: bool) -> Figure:
    if on_cpu:
        return Figure.missing(_NO_DEVICE)
    total = pinned_bytes()
    return Figure.missing("this ComfyUI does not tell") if total is None else Figure(total)


def high_water() -> int | None:
    """Largest resident main memory of this process since it began, in bytes; ``None`` where no one keeps it."""
    if sys.platform == "win32":
        return int(getattr(psutil.Process().memory_info(), "peak_wset", 0)) or None
    try:
        import resource
    except ImportError:
        return None
    mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(mark if sys.platform == "darwin" else mark * 1024) or None
