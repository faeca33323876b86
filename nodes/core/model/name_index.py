"""Which families know a layer name: one table of the names of all, written out only as far as a file asks.

Seventy families have three thousand names. What a file's names begin with tells which lines of which families they can
stand in, and only those are written out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from .facts import PREFIX_WORDS, flat_names, has_prefix, may_get_prefix, numbered
from .family import Family

PARAMETERS = ("_table", "y_embedding", "pos_embed", "positional_encoding", "pos_embed_input")
"""Ends of names that are no layers, and that models of many families have."""

_WORDS = re.compile(r"([^._\n]*)[^\n]*\n")

_NUMBER = re.compile(r"[#\d]")

_Line = tuple[int, str, Sequence[str]]
"""A bit for the family, what stands before the names, and the names."""


class NameIndex:
    """Every layer name of every family, by the model's and by other writers' names, to a bit for each family."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._waiting: dict[str, list[_Line]] = defaultdict(list)
        """Lines that are not written out yet, by the word that their names begin with."""
        self._known: dict[str, int] = {}
        for number, family in enumerate(families):
            for word, head, names in _lines(family):
                self._waiting[word].append((1 << number, head, names))

    def families_of(self, name: str) -> int:
        """A bit for each family that has a layer of this name, which is flat as in ``Facts.text``."""
        known = self._known
        for bit, head, names in self._waiting.pop(_word(name), ()):
            for flat in _written_out(head, names):
                if not flat.endswith(PARAMETERS):
                    known[flat] = known.get(flat, 0) | bit
        return known.get(name, 0)


def _lines(family: Family) -> Iterator[tuple[str, str, Sequence[str]]]:
    """The names of a family: the word that some begin with, what stands before them, and they themselves."""
    if not family.layers:
        return
    single = [name for link in family.links for name in link.file]
    for heads, names in family.layer_lines():
        for head in heads:
            word = _word(head)
            if not head or (word in PREFIX_WORDS and may_get_prefix(head)):
                single += [f"{head}.{name}" if head else name for name in names]
            else:
                yield word, f"{head}.", names
    by_word: dict[str, list[str]] = defaultdict(list)
    words = _WORDS.findall("\n".join((*single, "")).replace("#", "0"))
    for word, name in zip(words, single, strict=True):
        by_word[word].append(name)
    for word in PREFIX_WORDS & by_word.keys():
        for name in [name for name in by_word[word] if has_prefix(name)]:
            for flat in flat_names(name):
                by_word[_word(flat)].append(name)
    for word, names in by_word.items():
        yield word, "", names


def _written_out(head: str, names: Sequence[str]) -> Iterable[str]:
    """How the names of a line may stand in a file."""
    if not head:
        return (flat for name in names for flat in flat_names(name))
    flat_head, ends = head.replace(".", "_"), "\n".join(names).replace(".", "_")
    if numbered(f"{flat_head}x") == f"{flat_head}x" and not _NUMBER.search(ends):
        return [f"{flat_head}{end}" for end in ends.split("\n")]
    return [numbered(f"{flat_head}{end}") for end in ends.split("\n")]


def _word(name: str) -> str:
    """What a name begins with, whether its parts are joined by dots or by underscores."""
    return name.partition(".")[0].partition("_")[0].replace("#", "0")
