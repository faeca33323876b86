"""The tensors of a file sorted into layers, by their names alone."""

from __future__ import annotations

from typing import NamedTuple

from .key_style import KeyStyle, key_style
from .keys import split_key
from .strangers import Strangers, sort_strangers

_SCALES_NOTHING = frozenset({"alpha", "scaled_oft"})
"""Roles that mean nothing without the tensors that they belong to."""


class Grouping(NamedTuple):
    """What the names of a file's tensors say."""

    groups: dict[str, dict[str, str]]
    """Layer name to role to key, in file order."""
    other: list[str]
    """Keys that belong to no adapter."""
    orphans: list[str]
    """An alpha and the like, without the tensors that they belong to."""
    strangers: Strangers
    alpha_keys: list[str]
    style: KeyStyle


def group_tensors(keys: tuple[str, ...]) -> Grouping:
    """Sort the keys of a file."""
    groups, other = _group(keys)
    lonely = [name for name, roles in groups.items() if roles.keys() <= _SCALES_NOTHING]
    orphans = [key for name in lonely for key in groups.pop(name).values()]
    alpha_keys = [roles["alpha"] for roles in groups.values() if "alpha" in roles]
    return Grouping(groups, other, orphans, sort_strangers(other), alpha_keys, key_style(groups))


def _group(keys: tuple[str, ...]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Layer name to role to key, in file order; and what is left."""
    groups: dict[str, dict[str, str]] = {}
    rest: list[str] = []
    for key in keys:
        parts = split_key(key)
        roles = groups.setdefault(parts.name, {}) if parts is not None else {}
        if parts is None or parts.role in roles:
            rest.append(key)  # two spellings of one tensor: the second is nobody's
        else:
            roles[parts.role] = key
    other: list[str] = []
    for key in rest:  # LyCORIS IA3 stores its vector as a plain ".weight" beside ".on_input"
        name, _, last = key.rpartition(".")
        if last == "weight" and "on_input" in groups.get(name, ()):
            groups[name]["ia3_weight"] = key
        else:
            other.append(key)
    return groups, other
