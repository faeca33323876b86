"""What a sweep leaves out at a time: a block, its stream or part, a kind of block, or groups that the user wrote."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..errors import PatchbayError
from ..model.blocks import Place
from ..model.slices import fused_slices
from ..strengths.groups import (
    BLOCK,
    BLOCK_AND_PART,
    BLOCK_AND_STREAM,
    KIND,
    joined_ranges,
    selector_rank,
    selectors_of,
)
from ..strengths.text import StrengthItem, parse_block_strengths

OWN = "own groups"
UNITS = (BLOCK, BLOCK_AND_STREAM, BLOCK_AND_PART, KIND, OWN)
MOST_NAMED = 3
"""Units that are named where more are meant."""
MOST_UNITS = 1000
"""More than any model has blocks and parts; a text that was made to hurt has more."""


@dataclass(frozen=True)
class Unit:
    """Layers that are left out together."""

    name: str
    """For people: the selector, or the user's own line."""
    selectors: tuple[str, ...]
    """As in the text form."""
    layers: int = 0
    """Layers of the LoRA in it."""
    energy: float | None = None
    """Share of the LoRA's squared delta norm, in 0..1; ``None`` where it was not measured."""
    shift: float | None = None
    """What its blocks add to the shift of the model's features; ``None`` where that was not measured."""


def units_of_places(
    patched: Iterable[tuple[Place, tuple[int, ...]]], grouping: str, kinds: Iterable[str]
) -> tuple[Unit, ...]:
    """The units that hold what a LoRA patches in the diffusion model, in the model's order.

    Args:
        patched: Place and shape of each weight.
        grouping: One of ``UNITS`` but ``own groups``.
        kinds: The model's containers in its order.
    """
    names: set[str] = set()
    for place, shape in patched:
        slices = {name for part in fused_slices(place, shape) for name in part.names}
        names.update(selectors_of(place, grouping, slices if grouping == BLOCK_AND_PART else ()))
    order = tuple(kinds)
    return tuple(Unit(name, (name,)) for name in sorted(names, key=lambda selector: selector_rank(selector, order)))


def check_count(units: Sequence[Unit], grouping: str, name: str) -> None:
    """
    Raises:
        PatchbayError: there is nothing to choose from, or too much.
    """
    if not 1 < len(units) <= MOST_UNITS:
        raise PatchbayError(
            f'{name}: {len(units)} units of the kind "{grouping}": a sweep needs 2 to {MOST_UNITS}. Choose another '
            "entry in units."
        )


def check_groups(units: Iterable[Unit]) -> None:
    """
    Raises:
        PatchbayError: the LoRA changes nothing in one of the user's own groups.
    """
    for unit in units:
        if not unit.layers:
            raise PatchbayError(
                f'own_groups: the LoRA changes nothing in "{unit.name}", or a later line names the same layers. '
                "Remove the line."
            )


def own_groups(text: str) -> tuple[Unit, ...]:
    """Units from selectors, a group a line or between semicolons: ``double_blocks.0-2, other; face: single_blocks.3``.

    Raises:
        PatchbayError: a line is no list of selectors, or there is no line.
    """
    units: list[Unit] = []
    pieces = [piece.strip() for line in text.splitlines() for piece in line.split("#", 1)[0].split(";")]
    for number, bare in enumerate(filter(None, pieces), 1):
        name, colon, rest = bare.rpartition(":")
        selectors = [word.strip() for word in rest.split(",") if word.strip()]
        if not selectors or any("=" in word for word in selectors):
            raise PatchbayError(
                f'own_groups, group {number}: "{bare[:80]}": expected blocks separated by commas, with a name and a '
                "colon before them if you like, for example early: double_blocks.0-2, single_blocks.0-5."
            )
        items = parse_block_strengths(", ".join(f"{selector}=1" for selector in selectors)).items
        units.append(Unit(name.strip() if colon else ", ".join(selectors), tuple(_plain(item) for item in items)))
    if not 1 < len(units) <= MOST_UNITS:
        raise PatchbayError(
            f"own_groups: expected 2 to {MOST_UNITS} groups, got {len(units)}. Write for example "
            "double_blocks.*; single_blocks.*, or choose another entry in units."
        )
    return tuple(units)


def _plain(item: StrengthItem) -> str:
    return item.selector


def strengths_without(units: Iterable[Unit], dropped: Iterable[int]) -> str:
    """The text form that leaves out the units with these numbers: empty for none of them.

    Units of single blocks that follow one another are written as a range.
    """
    every = tuple(units)
    selectors = [selector for index in sorted(dropped) for selector in every[index].selectors]
    return ", ".join(f"{selector}=0" for selector in joined_ranges(selectors))


def setting_words(units: Iterable[Unit], dropped: Collection[int]) -> str:
    """What a setting is, for people: whichever is shorter to say, the units that are left out or those that stay."""
    every = tuple(units)
    if not dropped:
        return "the whole LoRA"
    kept = [index for index in range(len(every)) if index not in dropped]
    if not kept:
        return "without the LoRA"
    named, word = (kept, "only") if len(kept) < len(dropped) else (sorted(dropped), "without")
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return f"{word} {', '.join(every[index].name for index in named[:MOST_NAMED])}{more}"


def tagged(units: Iterable[Unit]) -> tuple[str, dict[float, int]]:
    """Strengths that tell the units apart in a plan, and which unit each one means."""
    tags: dict[float, int] = {}
    items: list[str] = []
    for index, unit in enumerate(units):
        tag = 2 + index / 1024  # exact in binary and in decimal
        tags[tag] = index
        items += [f"{selector}={tag!r}" for selector in unit.selectors]
    return ", ".join(items), tags
