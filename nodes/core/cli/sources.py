"""LoRAs with strengths as they are typed: ``FILE:0.8``, ``FILE:0.8:0.5`` (model, text encoder), ``FILE@"blocks"``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .exits import UsageError

_STRENGTHS = re.compile(
    r"^(?P<file>.+?):(?P<model>[-+]?[\d.]+(?:e[-+]?\d+)?)(?::(?P<clip>[-+]?[\d.]+(?:e[-+]?\d+)?))?$"
)

METAVAR = "LORA[:STRENGTH[:TE_STRENGTH]][@BLOCKS]"
HELP = """a LoRA, its strength (default 1), that of its text encoder layers (default: the same), and its strengths
by block: style.safetensors:0.8, detail.safetensors:-0.5@"double=0" """


@dataclass(frozen=True)
class TypedSource:
    """A LoRA as the user typed it."""

    path: Path
    strength_model: float = 1.0
    strength_clip: float = 1.0
    blocks: str = ""


def parse_source(text: str) -> TypedSource:
    """Understand one argument. A file whose own name looks like one with strengths is that file.

    Raises:
        UsageError: a number that is none.
    """
    path, blocks = Path(text), ""
    if path.exists():
        return TypedSource(path)
    left, at, right = text.partition("@")
    while at and not _begins_well(left):  # a folder may be called "a@b"
        more, at, rest = right.partition("@")
        left, right = f"{left}@{more}", rest
    if at:
        text, blocks = left, right.strip().strip("\"'")
    path = Path(text)
    if path.exists():
        return TypedSource(path, blocks=blocks)
    name, _, number = text.rpartition(":")
    if name and Path(name).exists():
        return TypedSource(Path(name), _number(number, text), _number(number, text), blocks)
    found = _STRENGTHS.match(text)
    if found is None:
        return TypedSource(path, blocks=blocks)
    strengths = [_number(found[name], text) for name in ("model", "clip") if found[name] is not None]
    return TypedSource(Path(found["file"]), strengths[0], strengths[-1], blocks)


def split_address(text: str) -> tuple[str, TypedSource]:
    """The address in one argument, and the strengths that follow it.

    An ``@`` begins strengths by block only where an ``=`` and no ``/`` follows: ``hf://OWNER/NAME@main/x.safetensors``.

    Raises:
        UsageError: a number that is none.
    """
    left, at, right = text.rpartition("@")
    blocks = ""
    if at and "=" in right and "/" not in right:
        text, blocks = left, right.strip().strip("\"'")
    found = _STRENGTHS.match(text)
    if found is None or "/" not in found["file"].partition("://")[2]:
        return text, TypedSource(Path(), blocks=blocks)
    strengths = [_number(found[name], text) for name in ("model", "clip") if found[name] is not None]
    return found["file"], TypedSource(Path(), strengths[0], strengths[-1], blocks)


def _begins_well(text: str) -> bool:
    return Path(text).exists() or Path(text.rpartition(":")[0]).is_file() or _STRENGTHS.match(text) is not None


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f'"{whole}": expected a strength such as 0.8 after the colon, got "{text}".') from error
