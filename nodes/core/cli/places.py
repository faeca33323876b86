"""Where the files of a command line lie: paths, or addresses of files elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

from ..files.elsewhere.place import as_place
from ..report.text import size
from .output import say

if TYPE_CHECKING:
    from ..files.elsewhere.address import RemoteFile

Place: TypeAlias = "Path | RemoteFile"


def place(text: str) -> Place:
    """What was typed, as a path or an address."""
    return as_place(text)


@contextmanager
def here(file: Place, err: TextIO) -> Iterator[Path]:
    """A path at which the whole file can be read; one that lies elsewhere is fetched for as long as it is needed.

    Raises:
        RemoteError: it cannot be fetched.
    """
    if isinstance(file, Path):
        yield file
        return
    watched = err.isatty()

    def progress(done: int, total: int) -> None:
        if watched:
            say(err, f"\r{file.name}: {size(done)} of {size(total)}", end="\n" * (done == total))
            err.flush()

    import tempfile

    with tempfile.TemporaryDirectory(prefix="lora-patchbay-") as folder:
        yield file.download(Path(folder), progress)


def say_traffic(file: Place, err: TextIO) -> None:
    """What travelled for a file elsewhere."""
    if not isinstance(file, Path) and file.traffic.bytes:
        count = file.traffic.requests
        asked = f"{size(file.traffic.bytes)} of {size(file.size_bytes)} in {count} request{'s' * (count != 1)}"
        say(err, f"{file}: read {asked}.")
