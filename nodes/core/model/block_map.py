"""Which block of one model is which block of another: the text form and the arithmetic of block maps.

``blocks: 0->0, 1->1, 2->3, 3->-`` says for every block of the model that a LoRA was made for which block of the model
at hand it is; ``-`` is a block without a counterpart, whose layers are left out. Containers are separated by ``;`` or a
new line. Maps keep the order of the blocks, since a model made from another one keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import BlockMapError
from .family import Inserted

NOWHERE = "-"
"""Stands for the target of a block that has no counterpart."""

_CONTAINER = re.compile(r"^([A-Za-z_][A-Za-z0-9_.]*)\s*:\s*(.*)$", re.DOTALL)
_ITEM = re.compile(r"^(\d{1,4})(?:-(\d{1,4}))?\s*->\s*(?:(-)|(\d{1,4})(?:-(\d{1,4}))?)$")
_LONGEST = 20_000

Pairs = tuple[tuple[int, "int | None"], ...]


@dataclass(frozen=True)
class BlockMap:
    """Old block numbers to new ones, by container."""

    kinds: tuple[tuple[str, Pairs], ...]
    """Container (empty where the text names none) to its pairs, ascending; ``None``: no counterpart."""

    def of(self, kind: str) -> Mapping[int, int | None]:
        """The map of one container; empty for one that it does not speak of."""
        return dict(next((pairs for name, pairs in self.kinds if name == kind), ()))

    @property
    def moves(self) -> bool:
        """Whether any block becomes another one, or none."""
        return any(old != new for _, pairs in self.kinds for old, new in pairs)

    def __str__(self) -> str:
        return format_block_map(self)


def parse_block_map(text: str) -> BlockMap:
    """The map that a text means.

    Raises:
        BlockMapError: an item does not parse, names a block twice, or goes against the order of the blocks.
    """
    if len(text) > _LONGEST:
        raise BlockMapError(f"block map: {len(text)} characters are more than any model needs (at most {_LONGEST}).")
    found: dict[str, dict[int, int | None]] = {}
    kind = ""
    for part in re.split(r"[,;\n]", re.sub(r"#[^\n]*", "", text)):
        part = part.strip()
        named = _CONTAINER.match(part)
        if named is not None:
            kind, part = named[1], named[2].strip()
        if part:
            _add(found.setdefault(kind, {}), part)
    if not found:
        raise BlockMapError('block map: expected pairs such as "blocks: 0->0, 1->1, 2->3", got nothing.')
    return checked_map(found)


def _add(pairs: dict[int, int | None], item: str) -> None:
    match = _ITEM.match(item)
    if match is None:
        raise BlockMapError(
            f'block map: "{item[:60]}" is no pair; expected old->new, such as 2->3, 3-5->4-6, or 2->- for a block '
            "without a counterpart."
        )
    first, last = int(match[1]), int(match[2] or match[1])
    start, end = (None, None) if match[3] else (int(match[4]), int(match[5] or match[4]))
    if last < first or (start is not None and end is not None and last - first != end - start):
        raise BlockMapError(f'block map: "{item[:60]}": both sides must be ranges of one length, the smaller first.')
    for step in range(last - first + 1):
        if first + step in pairs:
            raise BlockMapError(f'block map: block {first + step} appears on the left side twice (in "{item[:60]}").')
        pairs[first + step] = None if start is None else start + step


def checked_map(found: Mapping[str, Mapping[int, int | None]]) -> BlockMap:
    """A map in its normal form.

    Raises:
        BlockMapError: the new numbers do not rise with the old ones.
    """
    kinds: list[tuple[str, Pairs]] = []
    for kind, pairs in found.items():
        ordered = tuple(sorted(pairs.items()))
        targets = [(old, new) for old, new in ordered if new is not None]
        for (before, low), (old, new) in zip(targets, targets[1:], strict=False):
            if new <= low:
                what = f"{kind}: " if kind else ""
                raise BlockMapError(
                    f"block map: {what}{before}->{low} and {old}->{new} exchange blocks or put two on one; a model "
                    "that was made from another one keeps the order of its blocks."
                )
        kinds.append((kind, ordered))
    return BlockMap(tuple(kinds))


def format_block_map(block_map: BlockMap) -> str:
    """The text form, which :func:`parse_block_map` reads back."""
    texts: list[str] = []
    for kind, pairs in block_map.kinds:
        items = ", ".join(f"{old}->{NOWHERE if new is None else new}" for old, new in pairs)
        texts.append(f"{kind}: {items}" if kind else items)
    return "; ".join(texts)


def compose(first: BlockMap, second: BlockMap) -> BlockMap:
    """One map that does what two do one after the other.

    Raises:
        BlockMapError: the second does not say where a block goes that the first makes.
    """
    found: dict[str, dict[int, int | None]] = {}
    for kind, pairs in first.kinds:
        after = second.of(kind)
        if not after:
            found[kind] = dict(pairs)
            continue
        for old, new in pairs:
            if new is not None and new not in after:
                raise BlockMapError(f"block map: the second map does not say where {kind}.{new} goes.")
            found.setdefault(kind, {})[old] = None if new is None else after[new]
    for kind, pairs in second.kinds:
        if kind not in found:
            found[kind] = dict(pairs)
    return checked_map(found)


def invert(block_map: BlockMap, counts: Mapping[str, int]) -> BlockMap:
    """The way back.

    Args:
        counts: Number of blocks of each container on the new side: those that no old block became have no
            counterpart on the way back.
    """
    found: dict[str, dict[int, int | None]] = {}
    for kind, pairs in block_map.kinds:
        back = {new: old for old, new in pairs if new is not None}
        count = max(counts.get(kind, 0), max(back, default=-1) + 1)
        found[kind] = {new: back.get(new) for new in range(count)}
    return checked_map(found)


def inserted_map(inserted: Inserted) -> BlockMap:
    """Where the blocks of the shallower model lie in the deeper one: each moves up by one for every inserted number
    that is not above it.

    Raises:
        BlockMapError: nobody has published which blocks were inserted, or the numbers contradict the depths.
    """
    if not inserted.inserted:
        raise BlockMapError(
            f"which blocks were inserted to make {inserted.deeper} of {inserted.blocks} is not published. Measure it "
            "with lora-patchbay remap --from-model and --to-model."
        )
    if inserted.blocks + len(set(inserted.inserted)) != inserted.deeper:
        raise BlockMapError(f"{inserted.blocks} blocks and {len(inserted.inserted)} more are not {inserted.deeper}.")
    left = [number for number in range(inserted.deeper) if number not in inserted.inserted]
    return BlockMap(((inserted.kind, tuple(enumerate(left))),))


def identity_map(kind: str, indices: Iterable[int]) -> BlockMap:
    """Every block stays what it is."""
    return BlockMap(((kind, tuple((index, index) for index in sorted(indices))),))
