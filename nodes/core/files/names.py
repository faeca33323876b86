"""Names of files that a user gives: inside a folder, and such that any system can store them."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath

from ..errors import PatchbayError

SUFFIX = ".safetensors"
_RESERVED = frozenset("CON PRN AUX NUL".split()) | {f"{p}{i}" for p in ("COM", "LPT") for i in range(1, 10)}
"""Names that Windows keeps for itself."""


def file_in_folder(folder: str | os.PathLike[str], file_name: str, what: str = "conditioning") -> Path:
    """The path of ``file_name`` in ``folder``, with ``.safetensors`` at its end; it may have sub-folders.

    Args:
        what: Which folder it is, for the message.

    Raises:
        PatchbayError: the name is empty, absolute, leads out of the folder, or no system could store it.
    """
    words = file_name.strip().replace("\\", "/")
    words = words[: -len(SUFFIX)] if words.lower().endswith(SUFFIX) else words
    parts = words.split("/")
    windows = PureWindowsPath(words)
    refused = not words or windows.drive or windows.root or any(_is_bad_part(part) for part in parts)
    root = Path(folder).resolve()
    path = root / f"{words}{SUFFIX}"
    if refused or root not in path.resolve().parents:
        raise PatchbayError(
            f'file_name: "{file_name}" is not a name inside the {what} folder; expected a file name, '
            'or folder/name, without .. and without any of <>:|?*" in it.'
        )
    return path


def _is_bad_part(part: str) -> bool:
    """Empty, a step up, or a name that Windows cannot store."""
    if not part or part != part.strip() or part.endswith(".") or part.startswith("."):
        return True
    if part.split(".")[0].upper() in _RESERVED:
        return True
    return any(c in '<>:|?*"' or not c.isprintable() for c in part)
