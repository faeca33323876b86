"""Strength by block, as text: ``all=1, double_blocks.0-4=0.8, single_blocks.3.attn=0, other=1, te=0.7``.

Items are separated by commas or newlines, the later one wins, indices are 0-based and ranges inclusive, ``#`` starts a
comment. What no item names has strength 1. One item is ``selector=number``; a selector is one of

====================================  ==================================================================
``all``                               everything, the text encoder too
``other``                             what lies in no block
``KIND`` ``KIND.*``                   every block of a container, by its name in the model (``double_blocks``) or its
                                      short form (``double``, ``single``, ``in``, ``mid``, ``out``)
``KIND.3`` ``KIND.0-4``               one block, a range
``KIND.0-50%``                        a range by depth: block i of n counts where its middle, (i + 1/2) / n, lies in it;
                                      ``0-50%`` and ``50-100%`` share the blocks without overlap
``*`` ``*.3`` ``*.0-50%``             the same for every container of the diffusion model, whatever it is called
``te``                                every text encoder
``te.ENCODER``                        one of them, by the name before its keys: ``te.clip_l``, ``te.t5xxl``
``te.LAYERS`` ``te.ENCODER.LAYERS``   its layers, by the last words of the container's name: ``te.layers``,
                                      ``te.block``; with an index as above: ``te.clip_l.layers.0-5``
``te.*`` ``te.0-5``                   layers of every text encoder
``te.other`` ``te.ENCODER.other``     what lies in no layer: embeddings, final norm, projection
====================================  ==================================================================

and a selector of more than one layer may end in a part: ``.attn``, ``.mlp``, ``.img``, ``.txt``, ``.q``, ``.k``, ``.v``
or a piece of a layer's own path (``double_blocks.*.img_attn.qkv``, ``*.attn``, ``te.layers.3.mlp.fc1``). Parts of a
fused weight (``q``, ``k``, ``v`` of ``qkv``; ``attn`` and ``mlp`` of a single block's linears) are slices of it. ``te``
items are checked only where a text encoder is connected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import BlockStrengthError
from ..model.blocks import OTHER, TEXT_ENCODER, BlockLayout, Place

ALL = "all"
ANY_CONTAINER = "*"
SHORT_FORMS = {
    "double": "double_blocks",
    "single": "single_blocks",
    "in": "input_blocks",
    "mid": "middle_block",
    "out": "output_blocks",
}
"""Short names of containers; each counts only where the model has no container of that very name."""

_INDEX = re.compile(r"^(?:\*|(\d{1,6})(?:-(\d{1,6})(%)?)?)$")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_SEGMENT = re.compile(r"^[A-Za-z0-9_]+$")
_EXAMPLE = "for example double_blocks.0-4=0.8"


@dataclass(frozen=True)
class StrengthItem:
    """``path[.index][.part]=value``: which layers, and their strength."""

    path: tuple[str, ...]
    """``all``, ``other``, ``te``, ``*``, or the segments of a container's name; without an index a part may be at its
    end, and behind ``te`` stand an encoder and a container of it."""
    first: int | None
    """First block, or ``None`` for every block."""
    last: int | None
    """Last block, included; both in per cent of the depth where ``percent`` is set."""
    part: str
    """Part inside the block (``attn``, ``img``, ``img_attn.qkv``), or empty for the whole block."""
    value: float
    any_index: bool = False
    """Whether ``*`` stood where the index stands."""
    percent: bool = False
    """Whether ``first`` and ``last`` are per cent of the depth."""

    @property
    def selector(self) -> str:
        """What stands before the ``=``."""
        words = [".".join(self.path)]
        if self.any_index:
            words.append("*")
        elif self.percent:
            words.append(f"{self.first}-{self.last}%")
        elif self.first is not None:
            words.append(str(self.first) if self.last == self.first else f"{self.first}-{self.last}")
        if self.part:
            words.append(self.part)
        return ".".join(words)

    @property
    def has_index(self) -> bool:
        """Whether an index or ``*`` stands behind the path."""
        return self.any_index or self.first is not None

    def __str__(self) -> str:
        return f"{self.selector}={format_number(self.value)}"

    def counts(self, index: int, position: int, count: int) -> bool:
        """Whether the item speaks of a block.

        Args:
            index: Its number in the container.
            position: Its place in the container, from 0; the same where no number is missing.
            count: Blocks of the container.
        """
        if self.first is None or self.last is None:
            return True
        if not self.percent:
            return self.first <= index <= self.last
        depth = 100 * (2 * position + 1)  # of 2 * count * 100
        return 2 * count * self.first <= depth and (depth < 2 * count * self.last or self.last == 100)


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
    if not path or not all(_is_name(s, first=i == 0) for i, s in enumerate(path)):
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
    percent = index[3] is not None
    if percent and (last > 100 or first == last):
        raise BlockStrengthError(f"{where}: expected a range of depth between 0-100%, for example *.0-50%=0.8.")
    return StrengthItem(path, first, last, part, value, percent=percent)


def _is_name(segment: str, first: bool) -> bool:
    if first:
        return segment == ANY_CONTAINER or bool(_NAME.match(segment))
    return bool(_SEGMENT.match(segment))


def _parse_number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise BlockStrengthError(f'{where}: expected a number after "=", got "{text}"; {_EXAMPLE}.')
    return value


def format_number(value: float) -> str:
    """The shortest text that reads back as ``value``; whole numbers without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


@dataclass(frozen=True)
class Rule:
    """One item, understood for one model."""

    item: StrengthItem
    target: str
    """``all``, ``other``, ``te``, ``*`` or the name of a container of the diffusion model."""
    part: str
    encoder: str = ""
    """One text encoder, or empty for all; only with the target ``te``."""
    container: str = ""
    """Last words of a text encoder's container, ``*`` for any, ``other`` for none; empty for the whole encoder."""

    def matches_layer(self, place: Place, layout: BlockLayout) -> bool:
        """Whether the rule speaks of this layer or of a part inside it."""
        if self.target == ALL:
            return True
        if self.target == TEXT_ENCODER:
            return place.text_encoder and self._matches_text(place, layout)
        if place.text_encoder:
            return False
        if self.target == OTHER or place.block is None:
            return self.target == OTHER and place.block is None
        if self.target not in (ANY_CONTAINER, place.block.kind):
            return False
        return self.item.counts(place.block.index, *layout.position(place))

    def _matches_text(self, place: Place, layout: BlockLayout) -> bool:
        if self.encoder and place.encoder != self.encoder:
            return False
        if not self.container:
            return True
        if place.block is None or self.container == OTHER:
            return place.block is None and self.container == OTHER
        if self.container != ANY_CONTAINER and not _ends_with(place.block.kind, self.container):
            return False
        return self.item.counts(place.block.index, *layout.position(place))

    def matches(self, place: Place, slice_names: Iterable[str], layout: BlockLayout) -> bool:
        """Whether the rule speaks of the layer, or of the slice of it that has these names."""
        if not self.matches_layer(place, layout):
            return False
        return not self.part or self.part in place.parts or self.part in slice_names


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
        self._layout = layout
        self._slices: dict[str, set[str]] = {}
        for place, name in slice_names if strengths.items else ():
            self._slices.setdefault(place.key, set()).add(name)
        self._places = layout.places() if strengths.items else ()
        self._rules = tuple(self._bind(item) for item in strengths.items)

    @property
    def is_uniform_one(self) -> bool:
        """Whether every layer has strength 1 without looking at any."""
        return all(rule.item.value == 1.0 for rule in self._rules)

    def strength(self, place: Place, slice_names: Iterable[str] = ()) -> float:
        """The strength of a layer, or of the slice of it that has these names; the last item that names it wins."""
        names = tuple(slice_names)
        for rule in reversed(self._rules):
            if rule.matches(place, names, self._layout):
                return rule.item.value
        return 1.0

    def _bind(self, item: StrengthItem) -> Rule:
        rule = understand(item, self._layout)
        if rule.target == TEXT_ENCODER and not self._layout.has_text_encoder:
            return rule  # a text without a CLIP connected may still speak of it
        # A range of depth may fall between the blocks of a small model: it names a depth, not a block.
        wide = replace(rule, item=replace(item, first=None, last=None)) if item.percent else rule
        if any(wide.matches(place, self._slices.get(place.key, ()), self._layout) for place in self._places):
            return rule
        raise _names_nothing(item, self._layout)


def understand(item: StrengthItem, layout: BlockLayout) -> Rule:
    """Split an item's path into what it speaks of and a part.

    Raises:
        BlockStrengthError: no container of the model has this name.
    """
    if item.path[0] == TEXT_ENCODER:
        return _understand_text(item, layout)
    for end in range(len(item.path), 0, -1):
        name = ".".join(item.path[:end])
        fixed = (ALL, OTHER, ANY_CONTAINER)
        target = name if name in layout.kinds or name in fixed else SHORT_FORMS.get(name, "")
        if target not in layout.kinds and target not in fixed:
            continue
        rest = item.path[end:]
        if item.has_index and (rest or target in (ALL, OTHER)):
            continue
        return Rule(item, target, ".".join(rest) or item.part)
    raise _names_nothing(item, layout)


def _understand_text(item: StrengthItem, layout: BlockLayout) -> Rule:
    """``te[.encoder][.container][.index][.part]``; what is no encoder and no container is a part."""
    words = item.path[1:]
    encoder = words[0] if words and words[0] in layout.encoders else ""
    words = words[1:] if encoder else words
    if words[:1] == (OTHER,) and not item.has_index:
        return Rule(item, TEXT_ENCODER, ".".join(words[1:]), encoder, OTHER)
    kinds = [kind for kind in layout.text_kinds if not encoder or kind.partition(".")[0] == encoder]
    for end in range(len(words), 0, -1):
        name = ".".join(words[:end])
        if any(_ends_with(kind, name) for kind in kinds):
            rest = words[end:]
            if item.has_index and rest:
                break
            return Rule(item, TEXT_ENCODER, ".".join(rest) or item.part, encoder, name)
    if not item.has_index:
        return Rule(item, TEXT_ENCODER, ".".join(words), encoder)
    if words and layout.has_text_encoder:
        raise _names_nothing(item, layout)
    return Rule(item, TEXT_ENCODER, item.part, encoder, ANY_CONTAINER)


def _ends_with(kind: str, name: str) -> bool:
    """Whether the last words of a container's name are ``name``; the encoder's own name does not count."""
    return f".{kind.partition('.')[2]}".endswith(f".{name}")


def _names_nothing(item: StrengthItem, layout: BlockLayout) -> BlockStrengthError:
    of_text = item.path[0] == TEXT_ENCODER
    what, has = ("text encoder", layout.describe_text_encoders()) if of_text else ("model", layout.describe())
    return BlockStrengthError(
        f'block strengths: "{item.selector}" names nothing in this {what}, which has {has}. Change or remove the item.'
    )
