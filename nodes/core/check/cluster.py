"""Scanning on many machines: dask.distributed is the engine, a handful of files is one task.

The workers need this package, in the same version, and must see the files under the same names: addresses, or a folder
that all of them mount. The engine gives the tasks of a worker that dies to another. A file that kills every worker that
reads it is a row that says so, like any other file that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .. import __version__
from ..errors import PatchbayError
from .scan import ScanRow, scan_place

INSTALL = "Install with: python -m pip install distributed"
CHUNK = 16
"""Files of a task: enough that the scheduler, at about a millisecond a task, is not what one waits for."""
_START = "20s"


class Cluster:
    """A cluster that is already running."""

    def __init__(self, address: str) -> None:
        """Connect to the scheduler at ``address``.

        Raises:
            PatchbayError: dask.distributed is missing, nobody answers, or no worker has this version.
        """
        try:
            from distributed import Client
        except ImportError as error:
            raise PatchbayError(f"--cluster needs distributed, not installed here. {INSTALL}") from error
        try:
            self._client: Any = Client(address, timeout=_START, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise PatchbayError(f"{address}: no scheduler answers there; start one with 'dask scheduler'.") from error
        self._address = address
        self._check_workers()

    def close(self) -> None:
        """Leave the cluster; it goes on running."""
        self._client.close()

    @property
    def threads(self) -> int:
        """How many tasks it works on at a time."""
        return max(1, sum(self._client.nthreads().values()))

    def scan(self, places: Sequence[str], model: str, measure: bool) -> Iterator[ScanRow]:
        """Begin with these files at once; the rows come in their order."""
        chunks = [list(places[at : at + CHUNK]) for at in range(0, len(places), CHUNK)]
        futures = [self._submit(chunk, model, measure) for chunk in chunks]
        return self._rows(chunks, futures, model, measure)

    def _submit(self, chunk: list[str], model: str, measure: bool) -> Any:
        return self._client.submit(scan_places, chunk, model, measure, pure=False)

    def _rows(self, chunks: list[list[str]], futures: list[Any], model: str, measure: bool) -> Iterator[ScanRow]:
        from distributed import KilledWorker

        for chunk, future in zip(chunks, futures, strict=True):
            try:
                rows: list[ScanRow] = future.result()
            except KilledWorker:
                if len(chunk) == 1:
                    yield ScanRow(chunk[0], error="every worker that read this file died.")
                else:  # one of them is to blame, the others are well
                    alone = [[file] for file in chunk]
                    yield from self._rows(alone, [self._submit(one, model, measure) for one in alone], model, measure)
                continue
            except (OSError, RuntimeError) as error:
                if isinstance(error, PatchbayError):
                    raise
                raise PatchbayError(
                    f"{self._address}: the scheduler is gone ({type(error).__name__}). What was found so far is in the "
                    "index: the same command goes on from there."
                ) from error
            yield from rows

    def _check_workers(self) -> None:
        try:
            versions: dict[str, str] = self._client.run(version)
        except Exception as error:  # what a worker raises comes here as it is
            raise PatchbayError(
                f"{self._address}: the workers do not have this package ({type(error).__name__}). Install "
                "lora-patchbay where they run, in the same version."
            ) from error
        if not versions:
            raise PatchbayError(f"{self._address}: the scheduler has no workers; start some with 'dask worker'.")
        others = sorted(f"{worker} has {found}" for worker, found in versions.items() if found != __version__)
        if others:
            raise PatchbayError(f"{self._address}: this is version {__version__}, but {others[0]}.")


def version() -> str:
    """This package's version; asked of every worker."""
    return __version__


def scan_places(places: Sequence[str], model: str, measure: bool) -> list[ScanRow]:
    """The rows of some files: one task."""
    return [scan_place(place, model, measure) for place in places]
