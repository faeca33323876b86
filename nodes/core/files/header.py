"""What a model file says about itself before its tensors: names, dtypes, shapes, metadata.

Standard library only: this runs on machines without torch. The verdict on a safetensors file is the one of the
safetensors library (0.8), because what that library refuses, ComfyUI refuses.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

from ..errors import HeaderError

MAX_HEADER_BYTES = 100_000_000
"""What the safetensors library allows."""

_USIZE_MAX = 2**64 - 1
_SNIFF_BYTES = 1024

DTYPE_BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits of one element, for each dtype that safetensors 0.8 knows."""

_SCALAR_FORMATS = {
    "F16": "<e", "F32": "<f", "F64": "<d", "I8": "<b", "U8": "<B", "BOOL": "<?",
    "I16": "<h", "U16": "<H", "I32": "<i", "U32": "<I", "I64": "<q", "U64": "<Q",
}  # fmt: skip


class TensorInfo(NamedTuple):
    """One tensor of a file. A named tuple, because a scan makes a million of them."""

    key: str
    dtype: str
    """As the file spells it: ``BF16``, ``F8_E4M3``, ``Q4_0``."""
    shape: tuple[int, ...]
    start: int
    """First byte, counted from ``Header.data_start``."""
    end: int

    @property
    def count(self) -> int:
        """Number of elements."""
        total = 1
        for size in self.shape:
            total *= size
        return total


@dataclass(frozen=True)
class Header:
    """Everything that is known of a file without its tensors."""

    name: str
    """File name without its folder."""
    size_bytes: int
    container: str
    """``safetensors``, ``gguf`` or ``pickle``."""
    tensors: dict[str, TensorInfo]
    """In file order."""
    metadata: dict[str, str]
    path: Path | None = field(default=None, repr=False, compare=False)
    data_start: int = 0
    """Byte at which the tensors begin."""
    loaded: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """The tensors themselves, where the container cannot be read without loading them (pickle)."""

    def scalars(self, keys: Iterable[str]) -> dict[str, float]:
        """The values of one-element tensors, read with a seek each; what is not a readable scalar is left out."""
        wanted = [self.tensors[key] for key in keys if key in self.tensors]
        wanted = [info for info in wanted if info.count == 1]
        if self.loaded is not None:
            return {info.key: float(self.loaded[info.key]) for info in wanted}
        if self.path is None or self.container != "safetensors" or not wanted:
            return {}
        values: dict[str, float] = {}
        with open(self.path, "rb", buffering=0) as file:
            for info in wanted:
                file.seek(self.data_start + info.start)
                value = _decode_scalar(file.read(info.end - info.start), info.dtype)
                if value is not None:
                    values[info.key] = value
        return values


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read the header of a safetensors, GGUF or PyTorch pickle file, whatever its name ends in.

    Time and memory are bounded by the header, not by the file; pickles are mapped, with ``weights_only``.

    Raises:
        HeaderError: the file is none of these, is cut off, or contradicts itself; one sentence that says so.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        if start[:4] == b"GGUF":
            from .gguf import read_gguf

            return read_gguf(path, size)
        length = int.from_bytes(start, "little")
        # 80 02 00 00 ... is also the length of a safetensors header of 640 bytes.
        zipped = start[:4] == b"PK\x03\x04"
        pickled = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"
        if length > MAX_HEADER_BYTES and (zipped or pickled):
            from .pickled import read_pickle

            return read_pickle(path, size)
        if size < 8:
            _refuse_other_kinds(path.name, start, size)
            raise HeaderError(f"{path.name}: only {size} bytes, no header; the download is incomplete.")
        if length > MAX_HEADER_BYTES or length + 8 > size:
            start += file.read(_SNIFF_BYTES)
            _refuse_other_kinds(path.name, start, size)
            _refuse_length(path.name, length, size)
        raw = file.read(length)
    tensors, metadata = parse_safetensors_header(raw, path.name, size)
    return Header(path.name, size, "safetensors", tensors, metadata, path, 8 + length)


def shown(name: str) -> str:
    """A name from a file, fit for one line of a message."""
    return "".join(char if char.isprintable() else "?" for char in name[:80])


def _refuse_length(name: str, length: int, size: int) -> NoReturn:
    if length > MAX_HEADER_BYTES:
        raise HeaderError(
            f"{name}: is not a safetensors file: its first 8 bytes would mean a header of {length} bytes "
            f"(at most {MAX_HEADER_BYTES} are allowed)."
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


def parse_safetensors_header(
    raw: bytes, name: str, size_bytes: int
) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """The tensors in file order and the metadata of a safetensors header.

    Args:
        raw: The JSON after the 8 length bytes.
        name: File name, for messages.
        size_bytes: Size of the whole file, against which the offsets are checked.

    Raises:
        HeaderError: whatever the safetensors library refuses.
    """
    data = _parse_json(raw, name)
    metadata = _check_metadata(data.pop("__metadata__", None), name)
    infos = [_tensor_info(key, value, name) for key, value in data.items()]
    infos.sort(key=lambda info: (info.start, info.end))
    end = _check_offsets(infos, name)
    found = size_bytes - 8 - len(raw)
    if end > found:
        raise HeaderError(
            f"{name}: the header describes {end} bytes of tensors, the file holds {max(found, 0)}; "
            "the download is incomplete."
        )
    if end < found:
        raise HeaderError(
            f"{name}: {found - end} bytes at the end belong to no tensor; the file is damaged or was changed."
        )
    return {info.key: info for info in infos}, metadata


def _parse_json(raw: bytes, name: str) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HeaderError(f"{name}: the header is not UTF-8 text; this is not a safetensors file.") from error
    try:
        # Byte order marks and everything else that Python's parser allows beyond JSON are refused by the library.
        data = json.loads(text, parse_constant=_no_constant)
        if not _has_plain_fields(text, data):
            data = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except HeaderError as error:
        raise HeaderError(f"{name}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"{name}: the header is not valid JSON ({_short(error)}).") from error
    if not isinstance(data, dict):
        raise HeaderError(f"{name}: the header is not a JSON object; this is not a safetensors file.")
    if "\\" in text and _has_surrogate(data):
        raise HeaderError(f"{name}: the header is not valid JSON (half of a surrogate pair).")
    return cast("dict[str, Any]", data)


def _has_plain_fields(text: str, data: Any) -> bool:
    """Whether each field occurs once for each tensor, so that none can be doubled; a quick look for nearly all files.

    Python keeps the last of two equal fields, the library refuses them. ``\\u00`` could spell a name in another way.
    """
    if not isinstance(data, dict) or "\\u00" in text:
        return False
    header = cast("dict[str, Any]", data)
    tensors = len(header) - ("__metadata__" in header)
    once = all(text.count(f'"{name}"') == tensors for name in ("dtype", "shape", "data_offsets"))
    return once and text.count('"__metadata__"') <= 1


_UNIQUE = frozenset({"__metadata__", "dtype", "shape", "data_offsets"})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        names = [key for key, _ in pairs]
        for key in _UNIQUE:
            if names.count(key) > 1:
                raise HeaderError(f'the header names "{key}" twice in one place.')
    return data


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _short(error: BaseException) -> str:
    return (
        str(error).split("\n", 1)[0][:120] if not isinstance(error, RecursionError) else "nested too deeply"
    )


def _has_surrogate(data: dict[str, Any]) -> bool:
    try:
        repr_text = json.dumps(data, ensure_ascii=False)
        repr_text.encode("utf-8")
    except (UnicodeEncodeError, RecursionError):
        return True
    return False


def _check_metadata(value: Any, name: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HeaderError(f"{name}: __metadata__ is not an object of texts.")
    metadata = cast("dict[str, Any]", value)
    for key, item in metadata.items():
        if not isinstance(item, str):
            raise HeaderError(
                f'{name}: __metadata__ "{shown(key)}" is not a text; only texts are allowed there.'
            )
    return metadata


def _tensor_info(key: str, value: Any, name: str) -> TensorInfo:
    if type(value) is dict:
        get: Callable[[str], Any] = value.get  # pyright: ignore[reportUnknownMemberType]
        dtype, shape, offsets = get("dtype"), get("shape"), get("data_offsets")
    elif type(value) is list and len(cast("list[Any]", value)) == 3:
        dtype, shape, offsets = cast("list[Any]", value)  # the library reads the fields from an array, too
    else:
        raise HeaderError(f'{name}: tensor "{shown(key)}" is not described by dtype, shape and data_offsets.')
    if type(dtype) is not str or dtype not in DTYPE_BITS:
        raise HeaderError(f'{name}: tensor "{shown(key)}" has the unknown dtype {shown(str(dtype)[:40])}.')
    sizes, span = _sizes(shape), _sizes(offsets)
    if sizes is None or span is None or len(span) != 2:
        raise HeaderError(f'{name}: tensor "{shown(key)}" has no valid shape and data_offsets.')
    return TensorInfo(key, dtype, sizes, span[0], span[1])


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A JSON array of unsigned 64-bit numbers; ``None`` for anything else. A scan calls this a million times."""
    if type(value) is not list:
        return None
    items: list[Any] = value
    for item in items:
        if type(item) is not int or item < 0 or item > _USIZE_MAX:
            return None
    return tuple(items)


def _check_offsets(infos: list[TensorInfo], name: str) -> int:
    """The tensors must lie one after the other, without holes or overlaps. Returns where they end."""
    start = 0
    for key, dtype, shape, begin, end in infos:
        if begin != start or end < begin:
            raise HeaderError(
                f'{name}: tensor "{shown(key)}" lies at bytes {begin}-{end}, expected to start at {start}; '
                "tensors must follow each other without holes or overlaps."
            )
        start = end
        count = 1
        for size in shape:
            count *= size
            if count > _USIZE_MAX:
                raise HeaderError(f'{name}: the shape of tensor "{shown(key)}" overflows.')
        bits = count * DTYPE_BITS[dtype]
        if bits > _USIZE_MAX:
            raise HeaderError(f'{name}: the shape of tensor "{shown(key)}" overflows.')
        if bits % 8:
            raise HeaderError(f'{name}: tensor "{shown(key)}" does not fill whole bytes.')
        if end - begin != bits // 8:
            raise HeaderError(
                f'{name}: tensor "{shown(key)}" has {end - begin} bytes, its shape {list(shape)} of {dtype} '
                f"needs {bits // 8}."
            )
    return start


FP8 = {"F8_E4M3": (3, 7), "F8_E5M2": (2, 15)}
"""Bits of the mantissa, and bias of the exponent."""


def decode_fp8(code: int, bits: int, bias: int) -> float:
    """The value of an 8-bit float."""
    exponent, part = (code & 0x7F) >> bits, (code & ((1 << bits) - 1)) / (1 << bits)
    if bits == 2 and exponent == 31 or bits == 3 and code & 0x7F == 0x7F:
        value = math.inf if bits == 2 and not part else math.nan
    else:
        value = (1 + part) * 2.0 ** (exponent - bias) if exponent else part * 2.0 ** (1 - bias)
    return -value if code & 0x80 else value


def _decode_scalar(raw: bytes, dtype: str) -> float | None:
    try:
        if dtype == "BF16":
            return float(struct.unpack("<f", b"\x00\x00" + raw)[0])
        if dtype in FP8:
            return decode_fp8(raw[0], *FP8[dtype])
        if dtype in _SCALAR_FORMATS:
            return float(struct.unpack(_SCALAR_FORMATS[dtype], raw)[0])
    except (struct.error, IndexError):  # the file shrank since its header was read
        return None
    return None
