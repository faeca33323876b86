"""Patterns of names, looked for without a regular expression where that can be.

Seventy families have some four hundred patterns, most of them a name with a choice or two in it, and to compile one
takes longer than to read through the names of a model. A pattern that stands for a few texts is looked for as these
texts; of any other the letters that it begins with tell whether it need be compiled at all.

Lines here are names with a line break before each and one at the end, so that a break stands for ``^`` and ``$``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

_SPECIAL = frozenset(".*+?{}[]()|\\")
_RUN = re.compile(r"[\w#]+(?![\w#?*+{])")
"""Letters none of which is optional or repeated."""
_MOST = 64
"""Texts of one pattern; what has more is left to a regular expression."""


class Literals(NamedTuple):
    """The texts that a pattern begins with, one of which stands wherever it occurs."""

    texts: tuple[str, ...]
    """Empty where nothing is known."""
    whole: bool
    """Whether the pattern is these texts and nothing more."""


def as_lines(names: Iterable[str]) -> str:
    """Names as :func:`find_line` and :func:`occurs` take them."""
    return "\n".join(("", *names, ""))


def find_line(pattern: str, lines: str) -> str:
    """The first name in which a pattern occurs, or an empty text.

    >>> find_line("^b_(?:x|y)$", as_lines(["a", "b_y_z", "b_y"]))
    'b_y'
    """
    at = _place(pattern, lines)
    return lines[lines.rfind("\n", 0, at) + 1 : lines.index("\n", at)] if at >= 0 else ""


def occurs(pattern: str, lines: str) -> bool:
    """Whether a pattern occurs in any of the names."""
    return _place(pattern, lines) >= 0


def find_lines(pattern: str, names: Iterable[str]) -> Iterator[str]:
    """Every name in which a pattern occurs."""
    found, whole = literals(pattern)
    if whole:
        return (name for name in names if any(text in f"\n{name}\n" for text in found))
    compiled = re.compile(pattern)
    return (name for name in names if compiled.search(name))


def _place(pattern: str, lines: str) -> int:
    """Where a name begins to match, -1 for nowhere."""
    found, whole = literals(pattern)
    if whole:
        # The break before a name belongs to the name before it.
        return min((at + (text[0] == "\n") for text in found if (at := lines.find(text)) >= 0), default=-1)
    if found and not any(text in lines for text in found):
        return -1
    match = re.search(pattern, lines, re.MULTILINE)
    return match.start() if match is not None else -1


@lru_cache(2_048)
def literals(pattern: str) -> Literals:
    """The texts of a pattern.

    >>> literals(r"^img_in|[kv]_proj$")
    Literals(texts=('\\nimg_in', 'k_proj\\n', 'v_proj\\n'), whole=True)
    >>> literals("^(?:img|txt)_#_.*x")
    Literals(texts=('\\nimg_#_', '\\ntxt_#_'), whole=False)
    """
    if "(?i" in pattern:
        return Literals((), False)
    texts, whole = _of_choice(pattern)
    told = all(text.strip("\n") and "\n" not in text[1:-1] for text in texts)
    return Literals(tuple(texts), whole) if told else Literals((), False)


def _of_choice(pattern: str) -> tuple[list[str], bool]:
    """The texts of branches with bars between them, and whether they are all of it."""
    read = [_of_branch(branch) for branch in _branches(pattern)]
    return [text for texts, _ in read for text in texts], all(whole for _, whole in read)


def _branches(pattern: str) -> Iterator[str]:
    """What stands between the bars that are in no group and no class."""
    start = depth = at = 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "[":
            at = _end_of_class(pattern, at)
        elif letter == "|" and not depth:
            yield pattern[start:at]
            start = at + 1
        depth += (letter == "(") - (letter == ")")
        at += 2 if letter == "\\" else 1
    yield pattern[start:]


def _of_branch(branch: str) -> tuple[list[str], bool]:
    texts, at = [""], 0
    while at < len(branch):
        choices, whole, after = _item(branch, at)
        follows = branch[after : after + 1]
        if follows == "?" and whole:
            choices, after = [*choices, ""], after + 1
            follows = branch[after : after + 1]
        if not choices or (follows and follows in "?*+{") or len(texts) * len(choices) > _MOST:
            return texts, False
        texts = [text + choice for text in texts for choice in choices]
        if not whole:
            return texts, False
        at = after
    return texts, True


def _item(branch: str, at: int) -> tuple[list[str], bool, int]:
    """What some letters, a class or a group stand for (nothing if that is no list of texts), and where it ends."""
    run = _RUN.match(branch, at)
    if run is not None:
        return [run[0]], True, run.end()
    letter = branch[at]
    if letter in "^$":
        return ["\n"], True, at + 1
    if letter == "\\" and not branch[at + 1].isalnum():
        return [branch[at + 1]], True, at + 2
    if letter == "[":
        end = _end_of_class(branch, at)
        members = branch[at + 1 : end]
        return ([*members] if members.isalnum() else []), True, end + 1
    if branch.startswith("(?:", at):
        end = _end_of_group(branch, at)
        return *_of_choice(branch[at + 3 : end]), end + 1
    return ([letter] if letter not in _SPECIAL else []), True, at + 1


def _end_of_class(pattern: str, at: int) -> int:
    return pattern.index("]", at + 2)  # the first may be a member


def _end_of_group(branch: str, at: int) -> int:
    depth = 0
    while True:
        letter = branch[at]
        if letter == "[":
            at = _end_of_class(branch, at)
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and not depth:
            return at
        at += 2 if letter == "\\" else 1
