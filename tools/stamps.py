"""Stamps: what was set up, from which inputs, so that the next run can skip it.

A stamp is a small JSON file written after the work succeeded. It holds a hash of the inputs; when that
hash no longer matches, or the thing itself is gone, the work is done again.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import ToolError
from .paths import RUNTIME

LOCK_WAIT_SECONDS = 45 * 60


def digest(inputs: Any) -> str:
    """Hash of anything JSON can hold."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file so that it is either the old one or the whole new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data.encode() if isinstance(data, str) else data)
    os.replace(part, path)


def is_current(name: str, inputs: Any) -> bool:
    """Whether ``name`` was set up from exactly these inputs."""
    try:
        stamp = json.loads(_stamp_file(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(stamp, dict) and stamp.get("digest") == digest(inputs)


def write(name: str, inputs: Any) -> None:
    """Record that ``name`` was set up from these inputs."""
    stamp = {"digest": digest(inputs), "inputs": inputs, "written": time.strftime("%Y-%m-%dT%H:%M:%S")}
    write_atomically(_stamp_file(name), json.dumps(stamp, indent=1) + "\n")


def forget(name: str) -> None:
    """Drop a stamp before the thing it vouches for is changed."""
    _stamp_file(name).unlink(missing_ok=True)


def _stamp_file(name: str) -> Path:
    return RUNTIME / f"{name}.stamp"


@contextmanager
def setup_lock() -> Iterator[None]:
    """Hold the runtime while setting it up, so that two commands do not install over each other.

    The lock belongs to the open file, so it goes with the process however that ends.
    """
    RUNTIME.mkdir(parents=True, exist_ok=True)
    with (RUNTIME / "setup.lock").open("a+b") as file:
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise ToolError(
                    f"another patchbay.py has been setting up {RUNTIME} for {LOCK_WAIT_SECONDS // 60} "
                    "minutes. End it, then run this command again."
                )
            time.sleep(0.5)
        try:
            yield
        finally:
            _unlock(file)


if os.name == "nt":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
