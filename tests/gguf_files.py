"""Small GGUF files of chosen tensors, as converters write them: a whole header, and numbers that are all zero."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path

ALIGNMENT = 32
_F16, _STRING = 1, 8


def write_gguf(path: Path, shapes: Mapping[str, tuple[int, ...]], architecture: str = "flux") -> Path:
    """A GGUF file (version 3) of float16 tensors.

    Args:
        shapes: In torch's order; GGUF stores them the other way round.
    """
    fields = _text("general.architecture") + struct.pack("<I", _STRING) + _text(architecture)
    tensors, start = b"", 0
    for key, shape in shapes.items():
        dims = shape[::-1]
        tensors += _text(key) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, _F16, start)
        start += -(-2 * prod(shape) // ALIGNMENT) * ALIGNMENT
    header = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), 1) + fields + tensors
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(-(-len(header) // ALIGNMENT) * ALIGNMENT + start)
    return path


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
