"""Inspire Pack's named list: ``%default=1,base=0.5,in1-3=0.2,mid=0,double1-5=0.3``.

As Inspire reads it: groups are in, mid, out, double and single, numbers count from **1** over the blocks **that the
LoRA has**; ``default`` is the start for every block, and for ``base`` where that is not given; later items win; an item
that does not look like one, a negative number among them, is passed over without a word. Here it is listed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import BlockStrengthError
from ..text import format_number
from .base import Cell, Reading, StrengthFormat, cell_value, decimal_text, strip_comments
from .families import Family
from .vectors import INSPIRE_BLOCKS

_GROUPS = {
    "in": "input_blocks",
    "mid": "middle_block",
    "out": "output_blocks",
    "double": "double_blocks",
    "single": "single_blocks",
}
_ITEM = re.compile(r"^(default|base|in|mid|out|double|single)(\d{1,4})?(?:-(\d{1,4}))?=([0-9]+\.?[0-9]*|\.[0-9]+)$")


def _groups(cells: list[Cell]) -> dict[str, list[str]]:
    """Inspire's groups with their blocks, in its order."""
    found: dict[str, list[str]] = {}
    for group, kind in _GROUPS.items():
        blocks = [cell[0] for cell in cells if cell[0].rpartition(".")[0] == kind]
        if blocks:
            found[group] = blocks
    return found


def _named_format(id_: str, words: str, family_id: str, cells: list[Cell]) -> StrengthFormat:
    groups = _groups(cells)
    label = f"Inspire %default=..., {words}"
    note = f"Numbers count from 1 over the {len(cells)} blocks that such a LoRA usually has; base is everything else."

    def read(text: str) -> Reading:
        plain = " ".join(strip_comments(text).split())
        if not plain.startswith("%"):
            raise BlockStrengthError(f"{label}: expected a text that begins with %, as in {example}.")
        matches: list[re.Match[str]] = []
        lost: list[str] = []
        for item in (piece.strip() for piece in plain[1:].split(",")):
            match = _ITEM.match(item)
            if match is not None and not (match[1] in ("default", "base") and match[2]):
                matches.append(match)
            elif item:
                lost.append(f'"{item[:60]}" is not read by Inspire: it takes numbers from 0 up, as in in1-3=0.5.')
        base = next((m[4] for m in reversed(matches) if m[1] == "base"), None)
        default = next((m[4] for m in reversed(matches) if m[1] == "default"), "1")
        blocks = {block: float(default) for names in groups.values() for block in names}
        for match in matches:
            lost += _set(blocks, groups, match)
        settings = [(name, float(base or default)) for name in ("te", "other")]
        return Reading((*settings, *blocks.items()), tuple(lost), (note,))

    def write(values: Sequence[float], chosen: Family, source: str) -> str:
        del source
        base = cell_value(values, chosen, ("te", "other"))
        items = [f"base={_unsigned(base, 'base', label)}"]
        for group, blocks in groups.items():
            numbers = [cell_value(values, chosen, (block,)) for block in blocks]
            items += _ranges(group, numbers, label)
        return "%default=1," + ",".join(items)

    first = next(iter(groups))
    example = f"%default=1,base=0.5,{first}1-3=0.2,{first}4=0"
    return StrengthFormat(f"inspire.named.{id_}", label, note, example, family_id, read, write)


def _set(blocks: dict[str, float], groups: dict[str, list[str]], match: re.Match[str]) -> list[str]:
    """Obey one item; returns what of it names nothing."""
    group, first, last, number = match[1], match[2], match[3], match[4]
    if group in ("default", "base"):
        return []
    names = groups.get(group, [])
    chosen = range(len(names)) if first is None else range(int(first) - 1, int(last or first))
    for index in chosen:
        if 0 <= index < len(names):
            blocks[names[index]] = float(number)
    if names and first is not None and int(last or first) <= len(names) and int(first) >= 1:
        return []
    if names and first is None:
        return []
    has = f"it has {group}1-{len(names)}" if names else f"it has no {group} blocks"
    return [f'"{match[0]}" goes beyond this family: {has}.']


def _ranges(group: str, numbers: list[float], label: str) -> list[str]:
    items: list[str] = []
    start = 0
    for index in range(1, len(numbers) + 1):
        if index < len(numbers) and numbers[index] == numbers[start]:
            continue
        number = _unsigned(numbers[start], group, label)
        whole = start == 0 and index == len(numbers)
        where = "" if whole else str(start + 1) if index == start + 1 else f"{start + 1}-{index}"
        if not (whole and number == "1"):
            items.append(f"{group}{where}={number}")
        start = index
    return items


def _unsigned(value: float, what: str, label: str) -> str:
    if value < 0:
        raise BlockStrengthError(
            f"{label}: {what} is {format_number(value)}, and Inspire reads no negative number in this form. Export it "
            "as an LBW (Inspire) line instead."
        )
    return decimal_text(abs(value))


def named_formats() -> list[StrengthFormat]:
    """One format for each family of Inspire's."""
    return [_named_format(id_, words, fam, blocks) for id_, (fam, words, blocks) in INSPIRE_BLOCKS.items()]
