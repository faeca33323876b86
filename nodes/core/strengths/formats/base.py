"""What all community formats of block strengths share: the result of a conversion, and the proof of what it lost.

An export is read back and compared with what was asked, layer by layer. Whatever differs is listed, so a loss cannot
hide behind a format's own idea of itself.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ...errors import BlockStrengthError
from ..text import format_number, parse_block_strengths
from .families import Family, family

Cell = tuple[str, ...]
"""Selectors that share one value of a format."""


@dataclass(frozen=True)
class Reading:
    """A text of a community format, understood."""

    settings: tuple[tuple[str, float], ...]
    """Selector and strength, the later one wins."""
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    remark: str = ""
    """A comment that the text form has to keep for the way back."""


@dataclass(frozen=True)
class Conversion:
    """The converted text, with what it could not carry."""

    text: str
    lost: tuple[str, ...] = ()
    """What the other side cannot say, one sentence each."""
    notes: tuple[str, ...] = ()
    """What one should know although nothing was lost."""


@dataclass(frozen=True)
class StrengthFormat:
    """One community format for one family of models."""

    id: str
    label: str
    note: str
    """What one has to know about it, one sentence."""
    example: str
    family_id: str
    read: Callable[[str], Reading]
    write: Callable[[Sequence[float], Family, str], str]
    """From the strength of every unit of the family, and the source text (for what a comment in it says)."""

    @property
    def family(self) -> Family:
        """The family of models it is for."""
        return family(self.family_id)

    def import_text(self, text: str) -> Conversion:
        """Text of this format as block strengths.

        Raises:
            BlockStrengthError: it is not of this format; the sentence says what was expected.
        """
        reading = self.read(text)
        text = settings_text(reading.settings)
        return Conversion(f"# {reading.remark}\n{text}" if reading.remark else text, reading.lost, reading.notes)

    def export_text(self, text: str) -> Conversion:
        """Block strengths as text of this format, and every layer that would get another strength by it.

        Raises:
            BlockStrengthError: the block strengths do not parse, or the format cannot say a value at all.
        """
        asked, unknown = self.family.values(parse_block_strengths(text))
        written = self.write(asked, self.family, text)
        reading = self.read(written)
        back, _ = self.family.values(parse_block_strengths(settings_text(reading.settings)))
        lost = [f"{name} is not in {self.family.label}: left out." for name in unknown]
        lost += describe_differences(self.family, asked, back)
        return Conversion(written, tuple(lost), reading.notes)


def settings_text(settings: Iterable[tuple[str, float]]) -> str:
    """The text form, with runs of neighbouring blocks of one strength as ranges."""
    items: list[list[str | float | int]] = []
    for selector, value in settings:
        head, _, last = selector.rpartition(".")
        if (
            items
            and last.isdigit()
            and items[-1][0] == head
            and items[-1][3] == value
            and items[-1][2] == int(last) - 1
        ):
            items[-1][2] = int(last)
        elif last.isdigit():
            items.append([head, int(last), int(last), value])
        else:
            items.append([selector, -1, -1, value])
    words = []
    for head, first, last, value in items:
        index = "" if first == -1 else f".{first}" if first == last else f".{first}-{last}"
        words.append(f"{head}{index}={format_number(float(value))}")
    return ", ".join(words)


def common_value(values: Sequence[float], units: Iterable[int]) -> float:
    """The strength that most of the units have; of equally frequent ones the first."""
    counts = Counter(values[i] for i in units)
    return counts.most_common(1)[0][0] if counts else 1.0


def cell_value(values: Sequence[float], chosen: Family, cell: Cell) -> float:
    """The strength that most layers behind a cell have."""
    return common_value(values, [i for selector in cell for i in chosen.units_of(selector)])


def decimal_text(value: float) -> str:
    """A number without exponent that reads back as the same float: what the simplest readers understand."""
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


_PLAIN = re.compile(r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?$")
_SPECIAL = {
    "R": "a random value",
    "U": "a random value",
    "A": "the value of the node's A",
    "B": "the value of the node's B",
    "X": "an inherited weight",
}


def read_number(text: str, where: str) -> float:
    """A plain number.

    Raises:
        BlockStrengthError: it is something else; random and inherited values are named as what they are.
    """
    if _PLAIN.match(text):
        return float(text)
    special = _SPECIAL.get(text[:1].upper()) if len(text) <= 6 else None
    if special:
        raise BlockStrengthError(
            f'{where}: "{text}" means {special}, which block strengths cannot express. Write the number instead.'
        )
    if " " in text.strip():
        raise BlockStrengthError(
            f'{where}: "{text[:40]}" holds one value for each tensor of a block, which cannot be carried '
            "over. Write one number for the block."
        )
    raise BlockStrengthError(f'{where}: expected a number, got "{text[:40]}".')


def describe_differences(chosen: Family, asked: Sequence[float], got: Sequence[float]) -> list[str]:
    """One sentence for every group of layers whose strength changed."""
    by_block: dict[str, list[int]] = defaultdict(list)
    for position, unit in enumerate(chosen.units):
        block = unit.place.block
        by_block[f"te.{block}" if unit.place.text_encoder and block else str(block or unit.place.address)].append(
            position
        )
    groups: dict[tuple[str, str, float, float], list[str]] = {}
    for block, positions in by_block.items():
        changed = [i for i in positions if not math.isclose(asked[i], got[i], rel_tol=1e-9)]
        for pair in sorted({(asked[i], got[i]) for i in changed}):
            units = [i for i in changed if (asked[i], got[i]) == pair]
            whole = len(units) == len(positions)
            names = "" if whole else ", ".join(dict.fromkeys(_unit_name(chosen, i) for i in units))
            kind = block.rpartition(".")[0] if block.rpartition(".")[2].isdigit() else block
            groups.setdefault((kind, names, *pair), []).append(block)
    return [_sentence(blocks, names, old, new) for (_, names, old, new), blocks in groups.items()]


def _unit_name(chosen: Family, position: int) -> str:
    unit = chosen.units[position]
    layer = unit.place.inner or unit.place.layer
    return f"{layer} ({'/'.join(unit.names)})" if unit.names else layer


def _sentence(blocks: list[str], names: str, old: float, new: float) -> str:
    where = blocks[0] if len(blocks) == 1 else f"{blocks[0]} to {blocks[-1]} ({len(blocks)} blocks)"
    what = f"{where}: {names}" if names else where
    return f"{what}: asked for {format_number(old)}, the format gives {format_number(new)}."


def text_setting(settings: str, name: str) -> str:
    """The value of a comment ``# name=value``, or empty."""
    match = re.search(rf"^\s*#\s*{name}\s*=\s*(\S+)\s*$", settings, re.MULTILINE)
    return match[1] if match else ""


def strip_comments(text: str) -> str:
    """The text without ``#`` comments and without what surrounds it."""
    return "\n".join(line.split("#", 1)[0] for line in text.splitlines()).strip()
