"""Which family names and shapes belong to, and why. A new architecture is a file in ``families``."""

from __future__ import annotations

from dataclasses import dataclass

from .facts import Facts
from .families import FAMILIES
from .family import Family


@dataclass(frozen=True)
class ArchitectureMatch:
    """An architecture, how sure it is, and why."""

    id: str
    """Stable name; empty where nothing in the table fits."""
    name: str
    """For people, with the variant: ``FLUX.2 Klein 4B``."""
    certainty: str
    """``certain`` (a mark that only it has), ``likely`` (fits it alone in the table) or ``ambiguous``."""
    evidence: tuple[str, ...] = ()
    hidden_size: int | None = None


_EVIDENCE_SHOWN = 3


def identify_architecture(facts: Facts) -> ArchitectureMatch:
    """The architecture that names and shapes belong to; an unknown one is described by its own containers."""
    open_entries = [entry for entry in FAMILIES if not any(rule(facts) for rule in entry.against)]
    for entry in open_entries:
        evidence = tuple(dict.fromkeys(text for rule in entry.marks if (text := rule(facts))))
        if evidence:
            return _match(entry, facts, "certain", evidence[:_EVIDENCE_SHOWN])
    found = [
        (entry, evidence)
        for entry in open_entries
        if (evidence := tuple(text for rule in entry.hints if (text := rule(facts))))
    ]
    if len(found) == 1:
        return _match(found[0][0], facts, "likely", found[0][1])
    if found:
        matches = [_match(entry, facts, "ambiguous", evidence) for entry, evidence in found]
        names = " or ".join(match.name.partition(" (")[0] for match in matches)
        evidence = tuple(dict.fromkeys(text for match in matches for text in match.evidence))
        note = "the file changes only layers that these architectures share"
        return ArchitectureMatch(matches[0].id, names, "ambiguous", (*evidence, note), matches[0].hidden_size)
    return _unknown(facts)


def _match(entry: Family, facts: Facts, certainty: str, evidence: tuple[str, ...]) -> ArchitectureMatch:
    hidden = entry.hidden_size(facts)
    name = entry.variant(facts, hidden) if entry.variant else entry.name
    return ArchitectureMatch(entry.id, name, certainty, evidence, hidden)


def _unknown(facts: Facts) -> ArchitectureMatch:
    kinds = sorted(facts.blocks.items(), key=lambda item: -item[1])[:4]
    if not kinds:
        return ArchitectureMatch("", "unknown architecture", "ambiguous")
    described = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return ArchitectureMatch("", f"unknown architecture with {described}", "ambiguous")
