"""A thread that looks at memory while something runs, and keeps the largest values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

PERIOD_S = 0.02


class Poller:
    """Calls readers every 20 ms until :meth:`stop`. Readers must be cheap and safe on another thread.

    A reader that fails is not asked again; its error becomes the reason of the missing figure.
    """

    def __init__(self, readers: Mapping[str, Callable[[], int | None]], period_s: float = PERIOD_S) -> None:
        self.peaks: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self.polls = 0
        self._readers = dict(readers)
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="patchbay-memory", daemon=True)

    def start(self) -> None:
        """Take a first reading now, then go on in the background."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread and take a last reading. Calling it twice does no harm."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.look()

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def look(self) -> None:
        """One reading of everything."""
        self.polls += 1
        for name, read in list(self._readers.items()):
            try:
                value = read()
            except Exception as error:  # whatever a driver raises: the figure is missing, the run goes on
                self.errors[name] = f"{type(error).__name__}: {error}"
                del self._readers[name]
                continue
            if value is not None and value > self.peaks.get(name, -1):
                self.peaks[name] = value

    def _loop(self) -> None:
        while not self._stop.wait(self._period_s):
            self.look()
