"""When two lists of patches make the same weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Patches = Mapping[str, Sequence[tuple[Any, ...]]]
"""``ModelPatcher.patches``: key of a weight to (strength, value, strength of the model, offset, function)."""


def meant(value: Any) -> Any:
    """The patch that a stand-in of ours stands for while a run is measured; any other patch itself."""
    return getattr(value, "stands_for", value)


def same_patches(a: Sequence[tuple[Any, ...]], b: Sequence[tuple[Any, ...]]) -> bool:
    """Whether two lists of patches make the same weight: equal numbers and slices of the very same objects."""
    return len(a) == len(b) and all(_same_patch(x, y) for x, y in zip(a, b, strict=True))


def changed_keys(a: Patches, b: Patches) -> list[str]:
    """The weights for which two models have different patches."""
    return [key for key in a.keys() | b.keys() if not same_patches(a.get(key, ()), b.get(key, ()))]


def _same_patch(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    if a is b:
        return True
    if len(a) != 5 or len(b) != 5:
        return False
    return a[0] == b[0] and meant(a[1]) is meant(b[1]) and a[2] == b[2] and a[3] == b[3] and a[4] is b[4]
