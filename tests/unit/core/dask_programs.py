"""A dask scheduler and its workers as programs of their own, with this package as pip lays it out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEDULER = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
WORKER = ("--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--no-nanny")


@contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A program of the engine, with this package on its path."""
    path = os.pathsep.join((str(folder), *filter(None, sys.path)))
    begin = f"import sys; sys.path[:] = {path.split(os.pathsep)!r}"
    code = f"{begin}; from distributed.cli.dask_{words[0]} import main; main()"
    command = [sys.executable, "-c", code, *words[1:]]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def told(running: subprocess.Popen[str], pattern: str) -> str:
    assert running.stderr is not None
    for line in running.stderr:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"it never said {pattern}")


def python(folder: Path, *words: str) -> str:
    path = os.pathsep.join((str(folder), *filter(None, sys.path)))
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout, done.stderr
    return done.stdout
