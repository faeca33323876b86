"""What was typed, as a path or an address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .address import RemoteFile

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+(://|::)")


def is_address(text: str) -> bool:
    """Whether ``text`` is an address and not a path; ``C:\\x`` is a path."""
    return _ADDRESS.match(text) is not None


def as_place(text: str) -> Path | RemoteFile:
    """The path, or the file at the address; only an address brings in what knows protocols."""
    if not is_address(text):
        return Path(text)
    from .address import RemoteFile

    return RemoteFile(text)
