"""The NVIDIA driver's own figures, read from its library without any package."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

import torch

_MEMORY_NOT_KNOWN = (1 << 64) - 1
_INSUFFICIENT_SIZE = 7


class _Process(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class Nvml:
    """One device as the driver sees it. Every reading is a number or ``None``, with the reason in :attr:`reason`."""

    def __init__(self, device: torch.device) -> None:
        self.reason = ""
        self._library = _library()
        self._handle = ctypes.c_void_p()
        if self._library is None:
            self.reason = "the driver's library (NVML) cannot be loaded"
            return
        bus = torch.cuda.get_device_properties(device)
        if not hasattr(bus, "pci_bus_id"):
            self.reason = "this torch does not tell which device of the driver it uses"
            self._library = None
            return
        name = f"{getattr(bus, 'pci_domain_id', 0):08x}:{bus.pci_bus_id:02x}:{bus.pci_device_id:02x}.0"
        if self._library.nvmlDeviceGetHandleByPciBusId_v2(name.encode(), ctypes.byref(self._handle)):
            self.reason = f"the driver (NVML) does not know a device at {name}"
            self._library = None

    def process_bytes(self) -> int | None:
        """Device memory of this process; the driver tells it on Linux outside containers, not on Windows or WSL."""
        if self._library is None:
            return None
        found = self._processes()
        if found is None:
            return None
        own = [process.used for process in found if process.pid == os.getpid()]
        if not own and len(found) == 1:
            own = [found[0].used]  # a container sees its own process under the host's number
        if not own:
            self.reason = "the driver does not list this process (it runs in a container)"
            return None
        if own[0] == _MEMORY_NOT_KNOWN:
            self.reason = "this driver does not tell memory by process (Windows, WSL)"
            return None
        return int(own[0])

    def device_bytes(self) -> int | None:
        """Device memory in use by all programs, as the driver counts it."""
        if self._library is None:
            return None
        memory = _Memory()
        if self._library.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(memory)):
            return None
        return int(memory.used)

    def _processes(self) -> list[_Process] | None:
        count = ctypes.c_uint(64)
        table = (_Process * 64)()
        call = getattr(self._library, "nvmlDeviceGetComputeRunningProcesses_v3", None)
        if call is None:
            self.reason = "this driver is too old to tell memory by process"
            return None
        code = call(self._handle, ctypes.byref(count), table)
        if code:
            too_many = code == _INSUFFICIENT_SIZE
            self.reason = "more than 64 programs use the device" if too_many else f"NVML answered with error {code}"
            return None
        return list(table[: count.value])


def driver_version() -> str:
    """The NVIDIA driver's version, empty without one."""
    library = _library()
    text = ctypes.create_string_buffer(96)
    if library is None or library.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text))):
        return ""
    return text.value.decode("ascii", "replace")


@functools.lru_cache(maxsize=1)
def _library() -> Any:
    names = ["nvml.dll"] if sys.platform == "win32" else ["libnvidia-ml.so.1", "libnvidia-ml.so"]
    for name in names:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        if library.nvmlInit_v2() == 0:
            return library
    return None
