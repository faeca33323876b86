"""What scans found out before, kept so that only what changed is read again.

An SQLite file in the user's cache folder, a row for each file and question (which model, measured or not). A row holds
for the size and time of its file, of the configuration beside it and of the model, and for the rules that were applied,
which are this package. Deleting the file costs the next scan its time and nothing else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from ..errors import PatchbayError
from ..files.elsewhere.source import Source
from ..match.peft_files import config_stamp
from .scan import ScanRow

_TABLE = """CREATE TABLE IF NOT EXISTS rows (
    question TEXT, file TEXT, stamp TEXT, row TEXT, PRIMARY KEY (question, file)) WITHOUT ROWID"""
_PATIENCE = 30.0
"""Seconds to wait for another scan that writes."""


class Index:
    """The rows of one question."""

    def __init__(self, path: Path, question: str) -> None:
        """Open the index at ``path``, or begin one.

        Raises:
            PatchbayError: it cannot be opened or is damaged.
        """
        self._path = path
        self._question = question
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=_PATIENCE)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def known(self, stamps: dict[str, str]) -> dict[str, ScanRow]:
        """The rows that still hold, by file. ``stamps`` are of at most 900 files.

        Raises:
            PatchbayError: the index is damaged.
        """
        marks = ",".join("?" * len(stamps))
        asked = f"SELECT file, stamp, row FROM rows WHERE question = ? AND file IN ({marks})"
        found: dict[str, ScanRow] = {}
        try:
            with closing(self._base.execute(asked, (self._question, *stamps))) as rows:
                for file, stamp, row in rows:
                    if stamp == stamps[file]:
                        found[file] = ScanRow(file, *json.loads(row))
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise self._error(error) from error
        return found

    def keep(self, rows: Iterable[ScanRow], stamps: dict[str, str]) -> None:
        """Keep rows, all or none of them; a file that could not be opened is asked again next time.

        Raises:
            PatchbayError: the index cannot be written.
        """
        kept = [(self._question, r.file, stamps[r.file], json.dumps(r[1:])) for r in rows if r.size_bytes]
        try:
            with self._base:
                self._base.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", kept)
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> PatchbayError:
        return PatchbayError(
            f"{self._path}: the index of scans cannot be used ({error}). Delete it, name another with --index, or scan "
            "with --no-index."
        )


def stamps_of(files: Sequence[str]) -> dict[str, str]:
    """What tells whether a file is still the same, by file. One that is gone, or whose name is no text, has none."""
    configs = {folder: config_stamp(Path(folder, "x")) for folder in {os.path.dirname(file) for file in files}}
    found: dict[str, str] = {}
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            continue
        if not file.isprintable() and not _is_text(file):
            continue
        beside = configs[os.path.dirname(file)]
        found[file] = f"{status.st_size}:{status.st_mtime_ns}:{beside or ''}:{rules()}"
    return found


def _is_text(name: str) -> bool:
    """Whether a database can hold the name: a file's may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def question_of(model: Path | Source | None, measure: bool) -> str:
    """What a scan asks about each file, as a text: without a model, or for the model as it is now."""
    if model is None:
        return ""
    if isinstance(model, Source):
        return f"{model}:{model.size_bytes}:{measure}"
    status = model.stat()
    return f"{model.resolve()}:{status.st_size}:{status.st_mtime_ns}:{measure}"


def default_index() -> Path:
    """The index in the user's cache folder."""
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches"
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder, "lora-patchbay", "scans.sqlite")


@lru_cache(1)
def rules() -> str:
    """This package as it is installed, and whether pickles can be read: another version may answer otherwise."""
    told = [str(importlib.util.find_spec("torch") is not None)]
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        status = path.stat()
        told.append(f"{path.name}:{status.st_size}:{status.st_mtime_ns}")
    return hashlib.blake2b("\n".join(told).encode(), digest_size=8).hexdigest()
