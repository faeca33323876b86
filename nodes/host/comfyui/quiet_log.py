"""This thread's warnings while something is tried: remembered and kept out of the log, those of other threads not.

ComfyUI's adapters that fail write it to the log and leave the weight as it is, so that the log is what tells.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Listener(logging.Filter):
    """Takes the warnings of the thread that made it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread or record.levelno < logging.WARNING:
            return True
        self.seen.append(record.getMessage())
        return False


@contextmanager
def quiet_warnings() -> Iterator[list[str]]:
    """The warnings and errors that this thread writes to the root logger inside the block."""
    listener = _Listener()
    root = logging.getLogger()
    root.addFilter(listener)
    try:
        yield listener.seen
    finally:
        root.removeFilter(listener)
