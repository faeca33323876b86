"""LoRA files in memory: read once, shared by all nodes, bounded."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import comfy.utils
import torch

from ...core.errors import HeaderError
from ...core.files.header import read_header
from ...core.files.tensors import Header
from ...core.lora.file import LoraFile, read_lora
from ...core.match.renumbered import Renumbered

CACHE_BYTES = 1 << 30
"""Files beyond this total are dropped, the least recently used first; the newest always stays."""

FileKey = tuple[str, int, int]
"""Path, size and time of change: a file that was replaced is another file."""


@dataclass(frozen=True, eq=False)
class LoadedLora:
    """A LoRA file with its tensors. Compared by identity: one object for one file on disk."""

    name: str
    """As the user sees it in the list."""
    key: FileKey
    header: Header
    file: LoraFile
    tensors: dict[str, torch.Tensor]
    renumbered: dict[str, tuple[Renumbered, LoadedLora]] = field(default_factory=dict[str, Any], repr=False)
    """The same file under other block numbers, by the map; the tensors are shared."""

    @cached_property
    def size_bytes(self) -> int:
        """Bytes that the tensors take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())


class LoraCache:
    """The most recently used LoRA files, up to a number of bytes."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit = limit_bytes
        self._files: OrderedDict[FileKey, LoadedLora] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, path: str, name: str) -> LoadedLora:
        """The file at ``path``.

        Raises:
            HeaderError: the file is not what it should be, or is cut off.
        """
        status = os.stat(path)
        key = (path, status.st_size, status.st_mtime_ns)
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
        loaded = _read(path, name, key)
        with self._lock:
            self._files[key] = loaded
            self._shrink()
        return loaded

    def forget(self, path: str) -> None:
        """Let go of a file that will be replaced: Windows replaces none that is mapped into memory."""
        with self._lock:
            for key in [key for key in self._files if os.path.abspath(key[0]) == os.path.abspath(path)]:
                del self._files[key]

    def _shrink(self) -> None:
        total = sum(file.size_bytes for file in self._files.values())
        while total > self._limit and len(self._files) > 1:
            _, dropped = self._files.popitem(last=False)
            total -= dropped.size_bytes


LORA_CACHE = LoraCache()
"""Shared by all nodes."""


def _read(path: str, name: str, key: FileKey) -> LoadedLora:
    header = read_header(path)
    lora_file = read_lora(header)
    state: Any = comfy.utils.load_torch_file(path, safe_load=True)
    tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise HeaderError(f"{name}: contains no tensors; it is not a LoRA file.")
    return LoadedLora(name, key, header, lora_file, tensors)
