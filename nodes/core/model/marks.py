"""Rules from which families are told apart: each gives its evidence as a sentence, or an empty text.

Names are those of :mod:`.facts`: underscores for dots, ``#`` for block numbers, both of ComfyUI's models and of
diffusers. Shape rules and counts are those that ComfyUI's ``model_detection.py`` reads, and of the trainers' code.
"""

from __future__ import annotations

from collections.abc import Callable

from .facts import Facts
from .family import Rule

Places = tuple[tuple[str, int], ...]
"""Patterns of names, and the axis on which a size stands (0 rows, 1 columns)."""



def has(pattern: str, sentence: str) -> Rule:
    """A name matches ``pattern``."""
    return lambda facts: f"{sentence} ({name})" if (name := facts.find(pattern)) else ""


def ratio(pattern: str, value: float, sentence: str) -> Rule:
    """A matching layer has ``value`` times as many rows as columns."""

    def rule(facts: Facts) -> str:
        for name in facts.names(pattern):
            rows, columns = facts.shapes[name]
            if rows and columns and abs(rows / columns - value) < 1e-6:
                return f"{sentence} ({name} is {rows} x {columns})"
        return ""

    return rule


def columns(pattern: str, values: tuple[int, ...], sentence: str) -> Rule:
    """A matching layer has one of these numbers of columns."""

    def rule(facts: Facts) -> str:
        for name in facts.names(pattern):
            if facts.shapes[name][1] in values:
                return f"{sentence} ({name} has {facts.shapes[name][1]} columns)"
        return ""

    return rule


def times_hidden(pattern: str, axis: int, factor: int, sentence: str, hidden: Places) -> Rule:
    """A matching layer is ``factor`` times the hidden size high (axis 0) or wide (axis 1), which
    stands at ``hidden``."""

    def rule(facts: Facts) -> str:
        size_of_hidden = first(facts, hidden)
        for name in facts.names(pattern) if size_of_hidden else ():
            size = facts.shapes[name][axis]
            if size == factor * (size_of_hidden or 0):
                return f"{sentence} ({name} has {size} {'columns' if axis else 'rows'}, hidden size {size_of_hidden})"
        return ""

    return rule


def blocks_between(kind: str, low: int, high: int) -> Rule:
    """Blocks of this kind are numbered up to a count from ``low`` to ``high``."""

    def rule(facts: Facts) -> str:
        count = facts.blocks.get(kind, 0)
        return f"{kind} are numbered up to {count - 1}" if low <= count <= high else ""

    return rule


def both(first: Rule, second: Rule) -> Rule:
    """Both rules hold."""
    return lambda facts: f"{a}; {b}" if (a := first(facts)) and (b := second(facts)) else ""


def first(facts: Facts, places: Places) -> int | None:
    """The first of these sizes that is known."""
    for pattern, axis in places:
        size = facts.rows(pattern) if axis == 0 else facts.columns(pattern)
        if size:
            return size
    return None


def counted(facts: Facts, *kinds: tuple[tuple[str, str], str]) -> str:
    """How many blocks there are of each kind: ``5 double + 20 single``."""
    parts = [
        f"{count} {word}"
        for names, word in kinds
        if (count := max((facts.blocks.get(name, 0) for name in names), default=0))
    ]
    return " + ".join(parts)


def by_hidden(base: str, names: dict[int, str], kind: str = "") -> Callable[[Facts, int | None], str]:
    """Full names of the published hidden sizes; another size is named with its number."""
    def variant(facts: Facts, hidden: int | None) -> str:
        if hidden in names:
            return names[hidden]
        count = facts.blocks.get(kind, 0)
        details = [f"hidden {hidden}"] if hidden else []
        details += [f"{count} blocks"] if count and facts.whole else []
        return f"{base} ({', '.join(details)})" if details else base

    return variant
