"""The header of a safetensors file. The verdict on it is the one of the safetensors library (0.8): what that library
refuses, ComfyUI refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, cast

from ..errors import HeaderError
from .tensors import TensorInfo, shown

_USIZE_MAX = 2**64 - 1

DTYPE_BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits of one element, for each dtype that safetensors 0.8 knows."""


def parse_safetensors_header(raw: bytes, name: str, size_bytes: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
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
    if ("\\ud" in text or "\\uD" in text) and _has_surrogate(data):
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
    return str(error).split("\n", 1)[0][:120] if not isinstance(error, RecursionError) else "nested too deeply"


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
            raise HeaderError(f'{name}: __metadata__ "{shown(key)}" is not a text; only texts are allowed there.')
    return metadata


def _tensor_info(key: str, value: Any, name: str) -> TensorInfo:
    if type(value) is dict:
        get: Callable[[str], Any] = value.get  # pyright: ignore[reportUnknownMemberType]
        dtype: Any = get("dtype")
        shape: Any = get("shape")
        offsets: Any = get("data_offsets")
    elif type(value) is list and len(cast("list[Any]", value)) == 3:
        dtype, shape, offsets = cast("list[Any]", value)  # the library reads the fields from an array, too
    else:
        raise HeaderError(f'{name}: tensor "{shown(key)}" is not described by dtype, shape and data_offsets.')
    if type(dtype) is not str or dtype not in DTYPE_BITS:
        raise HeaderError(f'{name}: tensor "{shown(key)}" has the unknown dtype {shown(str(dtype)[:40])}.')
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise HeaderError(f'{name}: tensor "{shown(key)}" has no valid shape and data_offsets.')
    return TensorInfo(key, dtype, tuple(shape), *offsets)


def _are_sizes(value: Any) -> bool:
    """Whether it is a JSON array of unsigned 64-bit numbers. A scan calls this a million times."""
    if type(value) is not list:
        return False
    items: list[Any] = value
    for item in items:
        if type(item) is not int or not 0 <= item <= _USIZE_MAX:
            return False
    return True


def _check_offsets(infos: list[TensorInfo], name: str) -> int:
    """The tensors must lie one after the other, without holes or overlaps. Returns where they end."""
    start = 0
    for key, dtype, shape, begin, end in infos:
        if begin != start or end < begin:
            raise HeaderError(
                f'{name}: tensor "{shown(key)}" is at bytes {begin}-{end}, expected to start at {start}; '
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
