"""The axes of a grid: values with labels for people, read from the texts that people type."""

from __future__ import annotations

import fnmatch
import math
import ntpath
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import PatchbayError
from ..strengths.stack import LoraStackError, find_name

MOST_VALUES = 400
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pt2", ".bin", ".pth", ".sft", ".gguf")


class GridError(PatchbayError):
    """The axes of a grid do not make one."""


@dataclass(frozen=True)
class AxisValue:
    """One row, column or page."""

    value: str | float | int
    """What is set."""
    label: str
    """How it is called on the sheet."""


@dataclass(frozen=True)
class Axis:
    """Something that differs between the cells."""

    name: str
    """Of the node: ``lora``, ``strength``, ``blocks``, ``seed``, ``prompt``, ``model``; of the command line:
    ``NODE.INPUT``."""
    values: tuple[AxisValue, ...]
    kept: bool = False
    """A cell is compared with one that has the same value here (a seed, a prompt), unless another one is asked for."""
    title: str = ""
    """What it is called on the sheet; empty: its name."""

    @property
    def shown(self) -> str:
        """What it is called on the sheet."""
        return self.title or self.name

    @property
    def varies(self) -> bool:
        """Whether there is more than one value."""
        return len(self.values) > 1


def read_numbers(text: str, name: str) -> tuple[AxisValue, ...]:
    """``0.5, 0.75, 1`` in the order typed, each once; separated by commas, spaces or lines.

    Raises:
        GridError: an entry is no finite number, or there is none.
    """
    found: dict[float, AxisValue] = {}
    for word in re.split(r"[,;\s\u3001\uff0c]+", text.strip()):
        if not word:
            continue
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise GridError(f'{name}: "{word[:40]}" is no number; expected numbers such as 0.5, 0.75, 1.')
        found.setdefault(number, AxisValue(number, f"{number:g}"))
    return _at_least_one(tuple(found.values()), name, "numbers such as 0.5, 0.75, 1")


def read_lines(text: str, name: str) -> tuple[AxisValue, ...]:
    """One value a line, each once. An empty text is one empty value; an empty line between others is one, too."""
    lines = [line.strip() for line in text.strip("\n").splitlines()] or [""]
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    values = tuple(AxisValue(line, line or "all 1") for line in dict.fromkeys(lines))
    return _at_least_one(values, name, "one text a line")


def read_files(text: str, known: Sequence[str], name: str = "loras") -> tuple[str, ...]:
    """The files that lines of a text mean, each once.

    A line is a file's name as ComfyUI lists it, a folder (``my-training/``: all files in it and below, epochs in their
    order), or a pattern (``my-training/style-*``). Only listed files are ever meant: no line leads out of the folders.

    Args:
        known: Names of all files, as ComfyUI lists them.

    Raises:
        GridError: a line means no file.
    """
    found: dict[str, None] = {}
    for line in (line.strip() for line in text.splitlines()):
        if line and not line.startswith("#"):
            found.update(dict.fromkeys(_meant(line, known, name)))
    return tuple(found)


def _meant(line: str, known: Sequence[str], name: str) -> list[str]:
    wanted = _plain(line)
    if any(sign in wanted for sign in "*?"):
        files = [file for file in known if fnmatch.fnmatchcase(_plain(file), wanted)]
    else:
        below = wanted.rstrip("/") + "/"
        files = [file for file in known if _plain(file).startswith(below)] if wanted not in map(_plain, known) else []
    if files:
        return sorted(files, key=natural_key)
    try:
        return [find_name(line, known)]
    except LoraStackError as error:
        raise GridError(
            f'{name}: "{line[:80]}" is neither a file nor a folder nor a pattern of your loras folders. Expected one a '
            "line, for example style.safetensors, my-training/ or my-training/style-*."
        ) from error


def folders_of(known: Iterable[str]) -> list[str]:
    """The folders in which listed files lie, with a slash at the end; the top folder is none."""
    found = {ntpath.dirname(_plain(name)) + "/" for name in known}
    return sorted(found - {"/"}, key=natural_key)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts ``style-9`` before ``style-10``; a file without a number, the last epoch, comes after its numbered ones.

    Trainers write ``style-000010.safetensors``, ... and the finished ``style.safetensors``.
    """
    stem, suffix = os.path.splitext(_plain(name).casefold())
    parts = [
        (0, int(part), "") if part.isdecimal() and len(part) < 400 else (1, 0, part.rstrip("-_. "))
        for part in re.findall(r"\d+|\D+", stem)
    ]
    return (*parts, (2, 0, ""), (1, 0, suffix))


def short_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Names of files without what they all share: folder, ending, and a beginning that ends at a separator."""
    stems = [_stem(name) for name in names]
    if len(set(stems)) < len(stems):
        stems = [_plain(name) for name in names]
    if len(stems) < 2:
        return tuple(stems)
    shared = os.path.commonprefix(stems)
    cut = max((shared.rfind(sign) + 1 for sign in "-_. /"), default=0)
    labels = [stem[cut:] for stem in stems]
    return tuple(labels if all(labels) else stems)


def _stem(name: str) -> str:
    base = ntpath.basename(_plain(name))
    stem, suffix = os.path.splitext(base)
    return stem if suffix.lower() in _WEIGHTS else base


def _plain(name: str) -> str:
    return name.replace("\\", "/")


def _at_least_one(values: tuple[AxisValue, ...], name: str, expected: str) -> tuple[AxisValue, ...]:
    if not values:
        raise GridError(f"{name}: it is empty; expected {expected}.")
    if len(values) > MOST_VALUES:
        raise GridError(f"{name}: {len(values)} values; expected at most {MOST_VALUES}.")
    return values
