"""Whether a pattern can occur in a text at all, from the letters that it begins with.

Seventy families have some four hundred patterns, and to compile one takes longer than to read through the names of a
model: those whose first letters occur nowhere need not be compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

_SPECIAL = frozenset(".^$*+?{}[]()|\\")
_OPTIONAL = ("?", "*", "{")


def may_occur(pattern: str, lines: str) -> bool:
    """Whether ``pattern`` may occur in ``lines``: of no answer is ``True``, of ``False`` it surely does not.

    Args:
        lines: Names, with a line break before each; ``^`` in the pattern is the beginning of one.

    >>> may_occur("^(?:double|single)_blocks_#_img", "\\nblocks_#_attn"), may_occur("[qk]_proj$", "\\nblocks_#_attn")
    (False, True)
    """
    known = beginnings(pattern)
    return not known or any(text in lines for text in known)


@lru_cache(2_048)
def beginnings(pattern: str) -> tuple[str, ...]:
    """Texts of which one stands where the pattern occurs, a line break for ``^``; empty where that is not known.

    >>> beginnings(r"^img_in|processor\\.[qkv]"), beginnings("^.*attn")
    (('\\nimg_in', 'processor.'), ())
    """
    if "(?i" in pattern:
        return ()
    found = tuple(text for branch in _branches(pattern) for text in _of_branch(branch))
    return found if all(text.strip("\n") for text in found) else ()


def _branches(pattern: str) -> Iterator[str]:
    """What stands between the bars that are in no group and no class."""
    start = depth = at = 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "[":
            at = pattern.index("]", at + 2)  # the first may be a member
        elif letter == "|" and not depth:
            yield pattern[start:at]
            start = at + 1
        depth += (letter == "(") - (letter == ")")
        at += 2 if letter == "\\" else 1
    yield pattern[start:]


def _of_branch(branch: str) -> Iterator[str]:
    text = ""
    if branch.startswith("^"):
        text, branch = "\n", branch[1:]
    if branch.startswith("(?:"):
        inner, after = _group(branch)
        if after.startswith(_OPTIONAL):
            yield text
            return
        for choice in _branches(inner):
            yield from (text + begun for begun in _of_branch(choice))
        return
    at = 0
    while at < len(branch):
        letter, width = branch[at], 1
        if letter == "\\" and not branch[at + 1].isalnum():
            letter, width = branch[at + 1], 2
        elif letter in _SPECIAL:
            break
        if branch.startswith(_OPTIONAL, at + width):
            break
        text += letter
        at += width
    yield text


def _group(branch: str) -> tuple[str, str]:
    """What stands in the group that a branch begins with, and what follows it."""
    depth = at = 0
    while at < len(branch):
        letter = branch[at]
        if letter == "[":
            at = branch.index("]", at + 2)
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and not depth:
            return branch[3:at], branch[at + 1 :]
        at += 2 if letter == "\\" else 1
    return "", "?"
