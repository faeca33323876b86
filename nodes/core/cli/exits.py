"""How a command ends: its exit code, and the sentence about what went wrong."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import PatchbayError
from ..report.text import clean

if TYPE_CHECKING:
    from .places import Place

EXIT_OK, EXIT_WARNING, EXIT_UNREADABLE, EXIT_UNFIT, EXIT_DOUBT, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 64, 130
_GRAVITY = (EXIT_OK, EXIT_DOUBT, EXIT_WARNING, EXIT_UNFIT, EXIT_UNREADABLE)
_LONGEST = 2_000


class UsageError(PatchbayError):
    """The command line asks for something that makes no sense: exit code 64."""


def gravest(codes: Sequence[int]) -> int:
    """The most serious of several exit codes: 2 before 3 before 1 before 4."""
    return max(codes, key=_GRAVITY.index, default=EXIT_OK)


def describe(error: BaseException, path: Place | None = None) -> str:
    """One line about an error, with the file named as it was typed.

    Args:
        path: The file that the command was reading. An error that names another file is about that one.
    """
    if not isinstance(error, OSError):
        return clean(_as_typed(str(error), path), _LONGEST)
    named = error.filename if isinstance(error.filename, str) else path
    if isinstance(error, IsADirectoryError):
        return clean(f"{named}: is a folder; 'lora-patchbay scan' lists the model files in one.", _LONGEST)
    return clean(f"{named}: cannot be opened: {error.strerror or error}.", _LONGEST)


def _as_typed(message: str, path: Place | None) -> str:
    """Reports name files without their folders; on the command line ``a/x`` and ``b/x`` must be told apart."""
    if path is not None and message.startswith((f"{path.name}:", f"{path.name} ")):
        return f"{path}{message[len(path.name) :]}"
    return message


def require(purpose: str, *packages: str) -> None:
    """Check for optional packages before any work is done.

    Raises:
        PatchbayError: some are not installed; the message has the command that installs them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        raise PatchbayError(
            f"{purpose} needs {names}, not installed here. Install with: python -m pip install {' '.join(missing)}"
        )
