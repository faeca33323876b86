"""Rows of LoRAs as one text: what the node *Apply LoRAs* keeps, and what a user may paste.

As JSON, a list of ``{"on": true, "lora": NAME, "strength": 1, "clip": 1, "blocks": ""}`` in which everything but the
name may be missing; ``clip`` is then as ``strength``. Or a text with the tags that many programs know,
``<lora:NAME:0.8>``, ``<lora:NAME:0.8:0.5>`` with a strength of its own for the text encoder as second number, as
ComfyUI's packs read it. Other words around the tags are left alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import PatchbayError
from .stack import StackEntry
from .text import parse_block_strengths

MOST_ROWS = 200
STRONGEST = 100.0
_FIELDS = frozenset({"on", "lora", "strength", "clip", "blocks"})
_TAG = re.compile(r"<lora:([^<>]*)>", re.IGNORECASE)
_NAMED = {"unet": "strength", "te": "clip"}
"""Numbers that a tag may name, with the field that they are here."""


class LoraRowsError(PatchbayError):
    """The text is no list of rows, or a row says something that cannot be meant."""


@dataclass(frozen=True)
class LoraRow:
    """One LoRA with its strengths."""

    lora: str
    """Name as ComfyUI lists it; empty for a row in which none is chosen yet."""
    strength: float = 1.0
    clip: float | None = None
    """Strength for the text encoder; ``None`` means the same as ``strength``."""
    blocks: str = ""
    """Block strengths in the text form."""
    on: bool = True

    @property
    def entry(self) -> StackEntry:
        """The row as an entry of a ``LORA_STACK``."""
        return StackEntry(self.lora, self.strength, self.strength if self.clip is None else self.clip, self.blocks)


def parse_rows(text: str) -> tuple[LoraRow, ...]:
    """The rows that a text means; none for an empty one.

    Raises:
        LoraRowsError: the text is neither JSON of rows nor has a tag, or a row is not valid; the message names it.
    """
    plain = text.strip()
    if not plain:
        return ()
    if plain[0] not in "[{":
        rows = read_tags(plain)
        if not rows:
            raise LoraRowsError(
                f"rows: expected a JSON list of rows, or tags such as <lora:name:0.8>, got {plain[:60]!r}."
            )
        return rows
    try:
        data: Any = json.loads(plain)
    except (ValueError, RecursionError) as error:
        raise LoraRowsError(f"rows: this is not JSON ({error}). Write a list of rows, or tags.") from error
    if isinstance(data, dict):
        data = [data]
    if len(data) > MOST_ROWS:
        raise LoraRowsError(f"rows: {len(data)} rows, at most {MOST_ROWS} are read. Split them over two nodes.")
    return tuple(_read_row(item, number) for number, item in enumerate(data, 1))


def format_rows(rows: Iterable[LoraRow]) -> str:
    """The JSON text of ``rows``; ``parse_rows`` gives them back."""
    return json.dumps([_plain(row) for row in rows], ensure_ascii=False)


def read_tags(text: str) -> tuple[LoraRow, ...]:
    """The rows that the tags of a text mean.

    Raises:
        LoraRowsError: a tag has something else than a name and one or two numbers.
    """
    tags = _TAG.findall(text)
    if len(tags) > MOST_ROWS:
        raise LoraRowsError(f"rows: {len(tags)} tags, at most {MOST_ROWS} are read. Split them over two nodes.")
    return tuple(map(_read_tag, tags))


def _read_tag(tag: str) -> LoraRow:
    name, *parts = (part.strip() for part in tag.split(":"))
    found: dict[str, float] = {}
    for at, part in enumerate(parts):
        key, equals, number = part.partition("=")
        field = _NAMED.get(key.strip().lower(), "") if equals else ("strength", "clip", "")[min(at, 2)]
        value = _number(number if equals else part)
        if not name or not field or field in found or value is None:
            raise LoraRowsError(
                f"rows: expected <lora:name:0.8> or <lora:name:0.8:0.5>, got {('<lora:' + tag + '>')[:80]!r}. "
                "Give block weights to a row as block strengths."
            )
        found[field] = value
    if not name:
        raise LoraRowsError(f"rows: {('<lora:' + tag + '>')[:80]!r} names no file.")
    return LoraRow(name, found.get("strength", 1.0), found.get("clip"))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= STRONGEST else None


def _read_row(item: Any, number: int) -> LoraRow:
    if not isinstance(item, dict):
        raise LoraRowsError(f"rows, row {number}: expected an object with a lora, got {str(item)[:60]!r}.")
    unknown = sorted(set(item) - _FIELDS)
    if unknown:
        known = ", ".join(sorted(_FIELDS))
        raise LoraRowsError(f"rows, row {number}: there is no {unknown[0][:40]!r}; a row has {known}.")
    lora, blocks, on = item.get("lora", ""), item.get("blocks", ""), item.get("on", True)
    if not isinstance(lora, str) or not isinstance(blocks, str) or not isinstance(on, bool):
        raise LoraRowsError(f"rows, row {number}: lora and blocks are texts and on is true or false.")
    clip = item.get("clip")
    try:
        parse_block_strengths(blocks)
    except PatchbayError as error:
        raise LoraRowsError(f"rows, row {number}: {error}") from error
    return LoraRow(
        "" if lora == "None" else lora,
        _strength(item.get("strength", 1.0), number, "strength"),
        None if clip is None else _strength(clip, number, "clip"),
        blocks.strip(),
        on,
    )


def _strength(value: Any, number: int, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= STRONGEST:
        raise LoraRowsError(
            f"rows, row {number}: {name} is {str(value)[:40]!r}, expected a number from "
            f"-{STRONGEST:g} to {STRONGEST:g}."
        )
    return float(value)


def _plain(row: LoraRow) -> dict[str, Any]:
    plain: dict[str, Any] = {"on": row.on, "lora": row.lora, "strength": row.strength}
    if row.clip is not None:
        plain["clip"] = row.clip
    if row.blocks:
        plain["blocks"] = row.blocks
    return plain
