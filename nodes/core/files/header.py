"""Reads what a model file says about itself before its tensors, whatever kind of file it is."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from ..errors import HeaderError
from .elsewhere.source import Source, SourceFile
from .gguf import read_gguf
from .pickled import read_pickle
from .safetensors_header import parse_safetensors_header
from .tensors import Header

MAX_HEADER_BYTES = 100_000_000
"""What the safetensors library allows."""

_SNIFF_BYTES = 1024


def read_header(path: str | os.PathLike[str] | Source) -> Header:
    """Read the header of a safetensors, GGUF or PyTorch pickle file, whatever its name ends in.

    Time and memory are bounded by the header, not by the file; pickles are mapped, with ``weights_only``.

    Args:
        path: Of a file elsewhere the source, of which only the header is asked for.

    Raises:
        HeaderError: the file is none of these, is cut off, or contradicts itself; one sentence that says so.
        OSError: the file cannot be opened.
    """
    if isinstance(path, Source):
        file = cast("BinaryIO", SourceFile(path))
        return replace(_header_of(file, path.name, path.size_bytes, None), source=path)
    path = Path(path)
    status = path.stat()
    size = status.st_size
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # opening a pipe would wait for ever
        raise HeaderError(f"{path.name}: is a pipe or a device, not a file.")
    with open(path, "rb") as file:
        return _header_of(file, path.name, size, path)


def _header_of(file: BinaryIO, name: str, size: int, path: Path | None) -> Header:
    start = file.read(8)
    if start[:4] == b"GGUF":
        file.seek(0)
        return read_gguf(file, name, size, path)
    length = int.from_bytes(start, "little")
    # 80 02 00 00 ... is also the length of a safetensors header of 640 bytes.
    zipped = start[:4] == b"PK\x03\x04"
    pickled = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"
    if length > MAX_HEADER_BYTES and (zipped or pickled):
        if path is None:
            raise HeaderError(f"{name}: a PyTorch pickle, which cannot be read in part; download it first.")
        return read_pickle(path, size)
    if size < 8:
        _refuse_other_kinds(name, start, size)
        raise HeaderError(f"{name}: only {size} bytes, no header; the download is incomplete.")
    if length > MAX_HEADER_BYTES or length + 8 > size:
        start += file.read(_SNIFF_BYTES)
        _refuse_other_kinds(name, start, size)
        _refuse_length(name, length, size)
    tensors, metadata = parse_safetensors_header(file.read(length), name, size)
    return Header(name, size, "safetensors", tensors, metadata, path, 8 + length)


def _refuse_length(name: str, length: int, size: int) -> NoReturn:
    if length > MAX_HEADER_BYTES:
        raise HeaderError(
            f"{name}: is not a safetensors, GGUF or PyTorch file ({size} bytes that begin with none of their marks). "
            "Download it again, or unpack it if it is an archive."
        )
    raise HeaderError(
        f"{name}: header length {length} exceeds the file ({size} bytes); the download is probably incomplete."
    )


def _refuse_other_kinds(name: str, start: bytes, size: int) -> None:
    """Name what people find under the name of a model when a download went wrong."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if size == 0:
        raise HeaderError(f"{name}: the file is empty; download it again.")
    if text.startswith(b"version https://git-lfs") or (size < 8 and b"version".startswith(text)):
        raise HeaderError(
            f"{name}: a Git LFS pointer ({size} bytes), not the file it points to; fetch it with "
            "'git lfs pull' or download the file itself."
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<!--")):
        raise HeaderError(
            f"{name}: an HTML page ({size} bytes), not a model: the download link gave an error or login page."
        )
    if text.startswith((b"{", b"[")):
        raise HeaderError(
            f"{name}: a text in JSON form, not a model; perhaps the error message of a download or an index."
        )
