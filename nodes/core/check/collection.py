"""The files of a scan and the rows about them: from the index, from processes of this machine, or from a cluster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..files.elsewhere.source import Source
from .index import Index, rules, stamps_of
from .scan import SUFFIXES, ScanRow, find_files, scan_place

CHUNK = 16
BATCH = 512
"""Files between two writes of the index: what a scan that is killed does again at most."""
WORTH_PARALLEL = 64
"""Below this many files a second process costs more than it saves."""
_ELSEWHERE = 16
"""Files elsewhere that are asked for at a time: one waits for them, not for the processor."""


class Library(NamedTuple):
    """What a scan goes through."""

    files: list[str]
    """Absolute paths, or addresses."""
    problems: list[ScanRow]
    """Folders that cannot be read."""
    stamps: dict[str, str] | None = None
    """Of files elsewhere: what changes when they do."""


class _Batch(NamedTuple):
    files: list[str]
    stamps: dict[str, str]
    known: dict[str, ScanRow]
    made: Iterable[ScanRow]


@dataclass(frozen=True)
class Question:
    """What is asked about every file, and who finds it out."""

    model: Path | Source | None = None
    measure: bool = False
    jobs: int = 0
    """Processes of this machine; 0: one a core."""
    cluster: str = ""
    """Address of a scheduler, instead."""


def find_library(folder: Path | Source) -> Library:
    """The files below a folder.

    Raises:
        RemoteError: it lies elsewhere and cannot be listed.
    """
    if isinstance(folder, Path):
        found = find_files(folder)
        return Library([os.path.abspath(file) for file in found.files], found.problems)
    from ..files.elsewhere.address import list_files

    stamps = dict(list_files(address_of(folder), SUFFIXES))
    return Library(list(stamps), [], stamps)


def library_rows(library: Library, question: Question, index: Index | None) -> Iterator[ScanRow]:
    """The rows in the order of the files. What is new is kept batch by batch: a scan that is killed goes on there."""
    batches = (library.files[at : at + BATCH] for at in range(0, len(library.files), BATCH))
    begin, depth, close = _engine(library, question)
    pending: deque[_Batch] = deque()
    try:
        for files in batches:
            stamps = _stamps(library, files) if index is not None else {}
            known = index.known(stamps) if index is not None else {}
            pending.append(_Batch(files, stamps, known, begin([file for file in files if file not in known])))
            while len(pending) > depth:
                yield from _finish(pending.popleft(), index)
        while pending:
            yield from _finish(pending.popleft(), index)
    finally:
        close()


def address_of(place: Path | Source) -> str:
    """How another process finds it."""
    return os.path.abspath(place) if isinstance(place, Path) else str(getattr(place, "address", place))


def _finish(batch: _Batch, index: Index | None) -> Iterator[ScanRow]:
    if index is None:
        yield from batch.made
        return
    new = [file for file in batch.files if file not in batch.known]
    read = dict(zip(new, batch.made, strict=True))
    index.keep((row._replace(file=file) for file, row in read.items() if file in batch.stamps), batch.stamps)
    yield from (batch.known.get(file) or read[file] for file in batch.files)


def _stamps(library: Library, files: list[str]) -> dict[str, str]:
    if library.stamps is None:
        return stamps_of(files)
    return {file: f"{library.stamps[file]}:{rules()}" for file in files}


def _engine(
    library: Library, question: Question
) -> tuple[Callable[[list[str]], Iterable[ScanRow]], int, Callable[[], object]]:
    """What begins with files, how many batches are begun ahead, and what ends it."""
    model = "" if question.model is None else address_of(question.model)
    if question.cluster:
        from .cluster import CHUNK as SHARE
        from .cluster import Cluster

        cluster = Cluster(question.cluster)
        depth = 1 + 2 * cluster.threads * SHARE // BATCH
        return lambda files: cluster.scan(files, model, question.measure), depth, cluster.close
    scan = partial(scan_place, model=model, measure=question.measure)
    count = question.jobs if question.jobs > 0 else os.cpu_count() or 1
    if library.stamps is not None:
        threads = ThreadPoolExecutor(question.jobs if question.jobs > 0 else _ELSEWHERE)
        return lambda files: threads.map(scan, files), 1, partial(threads.shutdown, cancel_futures=True)
    pools: list[Executor] = []

    def begin(files: list[str]) -> Iterable[ScanRow]:
        if count == 1 or len(files) < WORTH_PARALLEL:
            return map(scan, files)
        if not pools:
            pools.append(ProcessPoolExecutor(count))
        return pools[0].map(scan, files, chunksize=CHUNK)

    def close() -> None:
        for pool in pools:
            pool.shutdown(cancel_futures=True)

    return begin, 1 if count > 1 else 0, close
