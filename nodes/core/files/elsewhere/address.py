"""Files elsewhere: ``https://``, ``hf://``, ``s3://`` and every other address that fsspec knows, read in parts.

The command line alone imports this, and what it needs (the extra ``[remote]``) only when an address is opened. Over
HTTP the first request asks for the beginning, and its answer also says how long the file is: one request for nearly
every file, two for a long header. Other protocols go through the file system that fsspec has for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ...errors import RemoteError
from .source import Source, Span

FIRST = 1 << 18
"""Bytes of the first request: the header of nearly every file."""

_HUB = "https://huggingface.co"
_HUB_KINDS = ("datasets", "spaces")
_BLOCK = 8 << 20
INSTALL = 'Install with: python -m pip install "fsspec[http]"'


@dataclass
class Traffic:
    """What was asked of a source so far."""

    requests: int = 0
    bytes: int = 0


def shown_address(address: str) -> str:
    """The address without what may be secret: names and passwords before the host, and everything after ``?``."""
    if "::" in address:
        return "::".join(map(shown_address, address.split("::")))
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class RemoteFile(Source):
    """A file at an address. Nothing is asked for before its header is read."""

    def __init__(self, address: str, size: int | None = None) -> None:
        self.address = address
        self.shown = shown_address(address)
        self.name = unquote(self.shown.rstrip("/").rpartition("/")[2]) or self.shown
        self.traffic = Traffic()
        self._size = size
        self._head: bytes | None = None
        self._reads: Any = None

    def __str__(self) -> str:
        return self.shown

    __repr__ = __str__

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFile, (self.address, self._size)

    @property
    def size_bytes(self) -> int:
        """Size of the whole file.

        Raises:
            RemoteError: it cannot be reached or is refused.
        """
        self._begin()
        assert self._size is not None
        return self._size

    @property
    def head(self) -> bytes:
        """The beginning of the file."""
        self._begin()
        assert self._head is not None
        return self._head

    def read(self, start: int, count: int) -> bytes:
        """``count`` bytes from ``start`` on, fewer only at the end of the file."""
        return self.read_spans([(start, start + count)])[0]

    def read_spans(self, spans: Sequence[Span]) -> list[bytes]:
        """Several pieces, several at a time.

        Raises:
            RemoteError: the file cannot be read in parts, changed meanwhile, or its server gave up.
        """
        size, head = self.size_bytes, self.head
        spans = [(min(start, size), min(end, size)) for start, end in spans]
        away = [span for span in spans if span[1] > len(head)]
        came = dict(zip(away, self._reads.spans(away), strict=True)) if away else {}
        found = [came[s] if s in came else head[s[0] : s[1]] for s in spans]
        if any(len(raw) != end - start for raw, (start, end) in zip(found, spans, strict=True)):
            raise RemoteError(f"{self}: fewer bytes came than were asked for; try again.")
        return found

    def beside(self, name: str, most: int) -> bytes | None:
        """A small file of this name in the same folder; ``None`` where there is none or it is longer than ``most``."""
        parts = urlsplit(self.address)
        folder = parts.path.rpartition("/")[0]
        other = RemoteFile(urlunsplit(parts._replace(path=f"{folder}/{name}", query="", fragment="")))
        try:
            found = other.read(0, most) if other.size_bytes <= most else None
        except RemoteError:
            found = None
        self.traffic.requests += other.traffic.requests
        self.traffic.bytes += other.traffic.bytes
        return found

    def download(self, folder: Path, progress: Callable[[int, int], None] | None = None) -> Path:
        """The whole file, and a PEFT configuration beside it, in ``folder``; for what needs its tensors.

        Args:
            progress: Told after each piece how many bytes have come, and of how many.
        """
        path = folder / (Path(self.name).name or "file")
        with open(path, "xb") as file:
            for start in range(0, self.size_bytes, _BLOCK):
                file.write(self.read(start, min(_BLOCK, self.size_bytes - start)))
                if progress is not None:
                    progress(file.tell(), self.size_bytes)
        config = self.beside("adapter_config.json", 1 << 20)
        if config is not None and path.name != "adapter_config.json":
            (folder / "adapter_config.json").write_bytes(config)
        return path

    def _begin(self) -> None:
        if self._head is None:
            self._reads = _reads(self)
            self._head, self._size = self._reads.begin(FIRST, self._size)


def list_files(address: str, endings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The address of every file below a folder elsewhere whose name has one of ``endings``, and what changes with it.

    Raises:
        RemoteError: there is no such folder, or it cannot be listed.
    """
    system, root = _system(address)
    shown = shown_address(address)
    try:
        found: dict[str, Any] = system.find(root, detail=True)
    except Exception as error:  # each file system has its own
        raise RemoteError(f"{shown}: the folder cannot be listed ({_reason(error)}).") from error
    for path, about in sorted(found.items()):
        if path.lower().endswith(endings):
            size = about.get("size")
            marks = (about.get(name) for name in ("mtime", "LastModified", "last_modified", "ETag", "etag", "blob_id"))
            stamp = next((str(mark) for mark in marks if mark), "")
            yield f"{address.rstrip('/')}/{path.removeprefix(root).lstrip('/')}", f"{size}:{stamp}"


def _reads(file: RemoteFile) -> Any:
    address = file.address
    if address.startswith("hf://"):
        address = _of_hub(address)
    if address.startswith(("http://", "https://")):
        try:
            from .http import HttpReads
        except ImportError as error:
            raise RemoteError(f"{file}: reading files elsewhere needs fsspec and aiohttp. {INSTALL}") from error
        return HttpReads(address, str(file), file.traffic)
    return _SystemReads(file)


def _of_hub(address: str) -> str:
    """``hf://[datasets/]OWNER/NAME[@REVISION]/PATH`` as the address from which the hub gives the file."""
    parts = address.removeprefix("hf://").split("/")
    kind = [parts.pop(0)] if parts[0] in _HUB_KINDS else []
    if len(parts) < 3 or not all(parts):
        raise RemoteError(f"{address}: is not hf://OWNER/NAME/FILE.")
    name, _, revision = parts[1].partition("@")
    end = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
    return "/".join((end, *kind, parts[0], name, "resolve", revision or "main", *parts[2:]))


def _system(address: str) -> tuple[Any, str]:
    shown = shown_address(address)
    try:
        import fsspec
    except ImportError as error:
        raise RemoteError(f"{shown}: reading files elsewhere needs fsspec. {INSTALL}") from error
    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise RemoteError(f"{shown}: {str(error).splitlines()[0][:200]}") from error
    except ValueError as error:
        known = "https://, hf://, s3:// and gs://, for example"
        raise RemoteError(f"{shown}: no kind of address that fsspec knows ({known}).") from error


class _SystemReads:
    """A file of any file system that fsspec has."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._system, self._path = _system(file.address)

    def begin(self, count: int, size: int | None) -> tuple[bytes, int]:
        if size is None:
            size = int(self._call("info", self._path)["size"])
        return (self._piece(0, min(count, size)) if size else b""), size

    def spans(self, spans: Sequence[Span]) -> list[bytes]:
        return [self._piece(start, end) if end > start else b"" for start, end in spans]

    def _piece(self, start: int, end: int) -> bytes:
        raw: bytes = self._call("cat_file", self._path, start=start, end=end)
        self._file.traffic.bytes += len(raw)
        return raw

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        self._file.traffic.requests += 1
        try:
            return getattr(self._system, name)(*arguments, **options)
        except FileNotFoundError as error:
            raise RemoteError(f"{self._file}: there is no such file.") from error
        except Exception as error:  # each file system has its own
            raise RemoteError(f"{self._file}: cannot be read ({_reason(error)}).") from error


def _reason(error: BaseException) -> str:
    """What kind of error; its text may hold an address with a token."""
    return getattr(error, "strerror", None) or type(error).__name__
