"""Which family names and shapes belong to, and why. A new architecture is a file in ``families``.

Two things are asked. Which families know the most of the names (a table of all layer names, so that seventy families
cost as much as one), and which rules of those families hold. ``certain`` needs a mark, or layers that only one family
has, and no other family that knows more of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .facts import Facts
from .families import FAMILIES
from .family import Family
from .name_index import PARAMETERS, NameIndex


@dataclass(frozen=True)
class ArchitectureMatch:
    """An architecture, how sure it is, and why."""

    id: str
    """Stable name; empty where nothing in the table fits. The first of the candidates where there are several."""
    name: str
    """For people, with the variant: ``FLUX.2 Klein 4B``."""
    certainty: str
    """``certain`` (a mark that only it has), ``likely`` (fits it alone in the table) or ``ambiguous``."""
    evidence: tuple[str, ...] = ()
    hidden_size: int | None = None
    candidates: tuple[str, ...] = ()
    """Ids of all families that it may be, where it is ambiguous."""


class _Entry(NamedTuple):
    """A family that is asked about a file."""

    family: Family
    known: int
    """How many of the file's matrices have a name of this family."""
    own: str
    """One that no other family has, or an empty text."""

    def stands(self, facts: Facts) -> bool:
        """Whether no rule excludes the family."""
        return not any(rule(facts) for rule in self.family.against)

    def evidence(self, facts: Facts) -> tuple[str, ...]:
        """The sentences of the marks that hold."""
        return tuple(dict.fromkeys(text for rule in self.family.marks if (text := rule(facts))))


_EVIDENCE_SHOWN = 3
_MOST_OF_A_MODEL = 0.8
_NAMES_SHOWN = 3
_MANY_BLOCKS = 19


_LAST: list[tuple[Facts, ArchitectureMatch]] = []
"""What was asked last: of a model file twice, for its kind and for its weights."""


def identify_architecture(facts: Facts) -> ArchitectureMatch:
    """The architecture that names and shapes belong to; an unknown one is described by its own containers."""
    for asked, match in _LAST:
        if asked == facts:
            return match
    match = _identify(facts)
    _LAST[:] = [(facts, match)]
    return match


def _identify(facts: Facts) -> ArchitectureMatch:
    index = _index()
    layers = ((name, columns) for name, (_, columns) in facts.shapes.items() if not name.endswith(PARAMETERS))
    matrices = [
        name for name, columns in layers if columns is not None or (not facts.whole and index.families_of(name))
    ]
    entries = list(_entries(index, matrices))
    # What speaks against a family is asked of those that know the most, and of the others only where it matters.
    counts = sorted({entry.known for entry in entries}, reverse=True)
    most = next((n for n in counts if any(entry.known == n and entry.stands(facts) for entry in entries)), 0)
    leading = [e for e in entries if (e.known == most or not e.family.layers) and e.stands(facts)]
    for entry in leading:
        evidence = entry.evidence(facts)
        if evidence:
            return _match(entry.family, facts, "certain", evidence[:_EVIDENCE_SHOWN])
    found = _by_names(facts, [entry for entry in leading if entry.family.layers], most, len(matrices))
    if found is not None:
        return found
    return _by_hints(facts, [entry for entry in entries if entry.stands(facts)]) or _unknown(facts)


def _by_names(facts: Facts, leading: Sequence[_Entry], known: int, matrices: int) -> ArchitectureMatch | None:
    """The families that have all of a LoRA's layers, or nearly all of a model's, and no width or depth against it."""
    needed = _MOST_OF_A_MODEL * matrices if facts.whole else matrices
    if not known or known < needed:
        return None
    fitting = [entry for entry in leading if not facts.whole and _deep_enough(entry.family, facts)]
    fitting = [entry for entry in fitting or leading if _wide_as(entry.family, facts, leading)]
    if not facts.whole:
        fitting = [entry for entry in fitting if _to_the_end(entry.family, facts)] or fitting
    if len(fitting) == 1:
        entry = fitting[0]
        hidden = entry.family.hidden_size(facts)
        published = not entry.family.sizes or hidden in entry.family.sizes
        name = entry.family.name
        sentence = f"layers of {name} ({entry.own})" if entry.own else f"names and widths of {name}"
        return _match(entry.family, facts, "certain" if entry.own and published else "likely", (sentence,))
    if not fitting:
        return None
    return _ambiguous(facts, [(entry.family, (f"names of {entry.family.name}",)) for entry in fitting])


def _deep_enough(family: Family, facts: Facts) -> bool:
    """Whether the family has as many blocks as the file names."""
    depths = [max(known) for known in family.depths.values()]
    return not depths or max(facts.blocks.values(), default=0) <= max(depths)


def _to_the_end(family: Family, facts: Facts) -> bool:
    """Whether the file ends where the family's blocks end, in a container of many: most files train every block."""
    count = max(facts.blocks.values(), default=0)
    return count >= _MANY_BLOCKS and any(count in known for known in family.depths.values())


def _wide_as(family: Family, facts: Facts, others: Sequence[_Entry]) -> bool:
    """Whether the hidden size is one of the family's; a size that none of the others has either tells nothing."""
    hidden = family.hidden_size(facts)
    if hidden is None or not family.sizes or hidden in family.sizes:
        return True
    return not any(hidden in entry.family.sizes for entry in others)


def _by_hints(facts: Facts, entries: Sequence[_Entry]) -> ArchitectureMatch | None:
    found = [
        (entry.family, evidence)
        for entry in entries
        if (evidence := tuple(text for rule in entry.family.hints if (text := rule(facts))))
    ]
    if len(found) == 1:
        return _match(found[0][0], facts, "likely", found[0][1])
    return _ambiguous(facts, found) if found else None


def _ambiguous(facts: Facts, found: Sequence[tuple[Family, tuple[str, ...]]]) -> ArchitectureMatch:
    said = [family for family, _ in found if facts.said and family.said and re.search(family.said, facts.said)]
    if len(said) == 1:
        return _match(said[0], facts, "likely", (f"names of {said[0].name}", f"its metadata say {facts.said}"))
    matches = [_match(family, facts, "ambiguous", evidence) for family, evidence in found]
    shown = [match.name.partition(" (")[0] for match in matches]
    if len(shown) > _NAMES_SHOWN + 1:
        shown = [*shown[:_NAMES_SHOWN], f"{len(shown) - _NAMES_SHOWN} others"]
    names = " or ".join(shown)
    evidence = tuple(dict.fromkeys(text for match in matches for text in match.evidence))
    note = "the file changes only layers that these architectures share"
    candidates = tuple(match.id for match in matches)
    return ArchitectureMatch(matches[0].id, names, "ambiguous", (*evidence, note), matches[0].hidden_size, candidates)


# --- Which families know the names -----------------------------------------------------------------------


@lru_cache(1)
def _index() -> NameIndex:
    return NameIndex(FAMILIES)


def _entries(index: NameIndex, names: Sequence[str]) -> Iterator[_Entry]:
    """The families that know one of these names, and those that are known by rules alone."""
    masks = {name: index.families_of(name) for name in names}
    known = [0] * len(FAMILIES)
    for mask, count in Counter(masks.values()).items():
        for number in _bits(mask):
            known[number] += count
    nothing = not any(known)  # names of a kind that no table has, such as those of old attention processors
    for number, family in enumerate(FAMILIES):
        if known[number] or nothing or not family.layers:
            own = next((name for name in names if masks[name] == 1 << number), "") if known[number] else ""
            yield _Entry(family, known[number], own)


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _match(entry: Family, facts: Facts, certainty: str, evidence: tuple[str, ...]) -> ArchitectureMatch:
    hidden = entry.hidden_size(facts)
    name = entry.variant(facts, hidden) if entry.variant else entry.name
    return ArchitectureMatch(entry.id, name, certainty, evidence, hidden, (entry.id,))


def _unknown(facts: Facts) -> ArchitectureMatch:
    kinds = sorted(facts.blocks.items(), key=lambda item: -item[1])[:4]
    if not kinds:
        return ArchitectureMatch("", "unknown architecture", "ambiguous")
    described = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return ArchitectureMatch("", f"unknown architecture with {described}", "ambiguous")
