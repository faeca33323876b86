"""What other writers call the layers of a family, looked up by the name of a layer in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ..model.families import family
from ..model.family import Link

_NUMBER = re.compile(r"\d+")


class Linked(NamedTuple):
    """A layer name of a file as one module of a link."""

    link: Link
    part: int
    numbers: tuple[str, ...]
    """What stands for each ``#``."""

    @property
    def model(self) -> tuple[str, ...]:
        """The layers of the model."""
        return tuple(_filled(name, self.numbers) for name in self.link.model)

    @property
    def file(self) -> tuple[str, ...]:
        """All modules of the link by the names that they would have in the file, joined with underscores."""
        return tuple(joined(_filled(name, self.numbers)) for name in self.link.file)


def joined(name: str) -> str:
    """A name with its dots as underscores: the one spelling that every writer's can be brought to."""
    return name.replace(".", "_")


def _filled(name: str, numbers: Sequence[str]) -> str:
    if "#" not in name:
        return name
    left = iter(numbers)
    return re.sub("#", lambda _: next(left, "#"), name)


class LinkIndex:
    """The links of a family by the names on the file's side."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._by_shape: dict[str, list[tuple[str, Link, int]]] = {}
        for link in links:
            for part, name in enumerate(link.file):
                spelling = joined(name)
                self._by_shape.setdefault(_NUMBER.sub("#", spelling), []).append((spelling, link, part))

    def find(self, name: str) -> Iterator[Linked]:
        """The links in which a layer is a module, whatever joins its name; ``name`` has no prefix."""
        spelling = joined(name)
        for own, link, part in self._by_shape.get(_NUMBER.sub("#", spelling), ()):
            match = _pattern(own).fullmatch(spelling)
            if match is not None:
                yield Linked(link, part, match.groups())


@lru_cache(1_024)
def _pattern(spelling: str) -> re.Pattern[str]:
    """A name with ``#`` for numbers as a pattern. A family has a hundred names, and a file asks for a few of them."""
    return re.compile(r"(\d+)".join(map(re.escape, spelling.split("#"))))


@lru_cache(64)
def links_of(architecture: str) -> LinkIndex:
    """The links of an architecture; none for one that is not known."""
    known = family(architecture)
    return LinkIndex(known.links if known is not None else ())
