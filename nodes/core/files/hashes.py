"""Hashes under which hubs and older tools know a file. Reads the whole file, so only on request."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK = 4 * 1024 * 1024


def file_hashes(path: Path, data_start: int) -> dict[str, str]:
    """SHA-256 (AutoV2 is its beginning), AutoV3 and the two hashes that kohya calls sshs.

    ``AutoV3`` and ``sshs_model_hash`` are the SHA-256 of everything after the header, so that a change of the metadata
    does not change them. ``sshs_legacy_hash`` is the one of 64 kB from the second megabyte on (AutoV1).

    Args:
        data_start: First byte after the header (8 + header length in safetensors); 0 where there is none.
    """
    whole, data = hashlib.sha256(), hashlib.sha256()
    position = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
            if position + len(chunk) > data_start:
                data.update(memoryview(chunk)[max(0, data_start - position) :])
            position += len(chunk)
        file.seek(0x100000)
        legacy = hashlib.sha256(file.read(0x10000)).hexdigest()
    hashes = {"sha256": whole.hexdigest(), "AutoV2": whole.hexdigest()[:10], "AutoV1 / sshs_legacy_hash": legacy[:8]}
    if data_start:
        hashes["AutoV3"] = data.hexdigest()[:12]
        hashes["sshs_model_hash"] = data.hexdigest()
    return hashes
