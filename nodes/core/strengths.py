"""Strength by block, as text: ``all=1, double_blocks.0-4=0.8, single_blocks.3.attn=0, other=1, te=0.7``.

Items are separated by commas or newlines, the later one wins, indices are 0-based and ranges inclusive, ``#`` starts a
comment. What no item names has strength 1. See :class:`StrengthItem` for the grammar of one item.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .blocks import OTHER, TEXT_ENCODER, BlockLayout, Place
from .errors import BlockStrengthError

ALL = "all"
SHORT_FORMS = {
    "double": "double_blocks",
    "single": "single_blocks",
    "in": "input_blocks",
    "mid": "middle_block",
    "out": "output_blocks",
}
"""Short names of containers; each counts only where the model has no container of that very name."""

_INDEX = re.compile(r"^(?:\*|(\d+)(?:-(\d+))?)$")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_SEGMENT = re.compile(r"^[A-Za-z0-9_]+$")
_EXAMPLE = "for example double_blocks.0-4=0.8"


@dataclass(frozen=True)
class StrengthItem:
    """``path[.index][.part]=value``: which layers, and their strength."""

    path: tuple[str, ...]
    """``all``, ``other``, ``te``, or the segments of a container's name; without an index a part may be at its end."""
    first: int | None
    """First block, or ``None`` for every block."""
    last: int | None
    part: str
    """Part inside the block (``attn``, ``img``, ``img_attn.qkv``), or empty for the whole block."""
    value: float
    any_index: bool = False
    """Whether ``*`` stood where the index stands."""

    def __str__(self) -> str:
        words = [".".join(self.path)]
        if self.any_index:
            words.append("*")
        elif self.first is not None:
            words.append(str(self.first) if self.last == self.first else f"{self.first}-{self.last}")
        if self.part:
            words.append(self.part)
        return f"{'.'.join(words)}={_format_number(self.value)}"


@dataclass(frozen=True)
class BlockStrengths:
    """The parsed text form. Empty means strength 1 everywhere."""

    items: tuple[StrengthItem, ...] = ()

    def __str__(self) -> str:
        return ", ".join(str(item) for item in self.items)


def parse_block_strengths(text: str) -> BlockStrengths:
    """Read the text form.

    Raises:
        BlockStrengthError: an item is not ``selector=number``; the text names the item and its position.
    """
    items: list[StrengthItem] = []
    for line in text.splitlines():
        for piece in line.split("#", 1)[0].split(","):
            if piece.strip():
                items.append(_parse_item(piece.strip(), len(items) + 1))
    return BlockStrengths(tuple(items))


def format_block_strengths(strengths: BlockStrengths) -> str:
    """The text form on one line; ``parse_block_strengths(format_block_strengths(x)) == x``."""
    return str(strengths)


def _parse_item(text: str, position: int) -> StrengthItem:
    selector, equals, number = (word.strip() for word in text.partition("="))
    where = f'block strengths, item {position}: "{text}"'
    if not equals:
        raise BlockStrengthError(f'{where}: expected a block, "=" and a number, {_EXAMPLE}.')
    value = _parse_number(number, where)
    segments = [segment.strip() for segment in selector.split(".")]
    at = next((i for i, segment in enumerate(segments) if i and _INDEX.match(segment)), None)
    path = tuple(segments if at is None else segments[:at])
    if not path or not all(_NAME.match(s) if i == 0 else _SEGMENT.match(s) for i, s in enumerate(path)):
        raise BlockStrengthError(f'{where}: "{selector}" is not the name of a block, {_EXAMPLE}.')
    if at is None:
        return StrengthItem(path, None, None, "", value)
    part = ".".join(segments[at + 1 :])
    if not all(_SEGMENT.match(segment) for segment in segments[at + 1 :]):
        raise BlockStrengthError(f'{where}: "{part}" is not the name of a part, for example img_attn.qkv.')
    index = _INDEX.match(segments[at])
    assert index is not None
    if segments[at] == "*":
        return StrengthItem(path, None, None, part, value, any_index=True)
    first = int(index[1])
    last = int(index[2]) if index[2] is not None else first
    if last < first:
        raise BlockStrengthError(f"{where}: the range {first}-{last} runs backwards; write {last}-{first}.")
    return StrengthItem(path, first, last, part, value)


def _parse_number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise BlockStrengthError(f'{where}: expected a number after "=", got "{text}"; {_EXAMPLE}.')
    return value


def _format_number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


@dataclass(frozen=True)
class _Rule:
    """One item, understood for one model."""

    item: StrengthItem
    target: str
    """``all``, ``other``, ``te`` or the name of a container."""
    part: str

    def matches_layer(self, place: Place) -> bool:
        """Whether the rule speaks of this layer or of a part inside it."""
        if self.target == ALL:
            return True
        if self.target == TEXT_ENCODER:
            return place.text_encoder
        if self.target == OTHER:
            return place.block is None and not place.text_encoder
        if place.block is None or place.block.kind != self.target:
            return False
        first, last = self.item.first, self.item.last
        return first is None or last is None or first <= place.block.index <= last

    def matches(self, place: Place, slice_names: Iterable[str]) -> bool:
        return self.matches_layer(place) and (not self.part or self.part in place.parts or self.part in slice_names)


class StrengthTable:
    """Block strengths bound to one model: every item is known to name something in it."""

    def __init__(
        self, strengths: BlockStrengths, layout: BlockLayout, slice_names: Iterable[tuple[Place, str]] = ()
    ) -> None:
        """Bind ``strengths`` to the model behind ``layout``.

        Args:
            slice_names: Named slices of fused weights (``q``, ``k``, ``v``, ``attn``, ``mlp``) with their layer.

        Raises:
            BlockStrengthError: an item names nothing in this model; the text lists what it has.
        """
        self._slices = tuple(slice_names)
        places = layout.places()
        self._rules = tuple(self._bind(item, layout, places) for item in strengths.items)

    @property
    def is_uniform_one(self) -> bool:
        """Whether every layer has strength 1 without looking at any."""
        return all(rule.item.value == 1.0 for rule in self._rules)

    def strength(self, place: Place, slice_names: Iterable[str] = ()) -> float:
        """The strength of a layer, or of the slice of it that has these names; the last item that names it wins."""
        names = tuple(slice_names)
        for rule in reversed(self._rules):
            if rule.matches(place, names):
                return rule.item.value
        return 1.0

    def _bind(self, item: StrengthItem, layout: BlockLayout, places: tuple[Place, ...]) -> _Rule:
        rule = _understand(item, layout)
        if rule.target == TEXT_ENCODER and not rule.part and item.first is None:
            return rule  # a text without a CLIP connected may still speak of it
        named = any(rule.matches(place, ()) for place in places)
        if not named and not any(rule.matches(place, (name,)) for place, name in self._slices):
            raise BlockStrengthError(
                f'block strengths: "{str(item).rpartition("=")[0]}" names nothing in this model, '
                f"which has {layout.describe()}. Change or remove the item."
            )
        return rule


def _understand(item: StrengthItem, layout: BlockLayout) -> _Rule:
    """Split an item's path into a container (or ``all``, ``other``, ``te``) and a part."""
    for end in range(len(item.path), 0, -1):
        name = ".".join(item.path[:end])
        target = name if name in layout.kinds or name in (ALL, OTHER, TEXT_ENCODER) else SHORT_FORMS.get(name, "")
        if target in layout.kinds or target in (ALL, OTHER, TEXT_ENCODER):
            rest = item.path[end:]
            if rest and (item.first is not None or item.any_index):
                continue
            return _Rule(item, target, ".".join(rest) or item.part)
    raise BlockStrengthError(
        f'block strengths: "{str(item).rpartition("=")[0]}" names nothing in this model, '
        f"which has {layout.describe()}. Change or remove the item."
    )
