"""Which weight a layer name means, for spellings that a model's key map does not list.

Everything is derived from the key map of this very model (ComfyUI's own where it runs, that of ``diffusers_names``
where only files are at hand): its entries without their prefixes, and the same joined with underscores.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from functools import cached_property
from typing import Any

from ..lora.file import LoraLayer
from .readings import bare_name, candidate_names

Target = str | tuple[Any, ...]
"""A value of a key map: a model key, ``(key, (dim, start, length))`` or ``(key, offset or None, function)``."""

_NUMBERED = re.compile(r"^(?:unet|text_encoder):\d+$")
"""cloneofsimo/lora."""


_REMEMBERED = 16_384
_LONGEST = 200


def target_key(target: Target) -> str:
    """The model key of a key-map value."""
    return target if isinstance(target, str) else target[0]


def target_offset(target: Target) -> tuple[int, int, int] | None:
    """The ``(dim, start, length)`` slice of a key-map value, or ``None`` for the whole weight."""
    return None if isinstance(target, str) else target[1]


def target_function(target: Target) -> Any:
    """What ComfyUI does to the weight before and after a patch, or ``None``."""
    return target[2] if not isinstance(target, str) and len(target) > 2 else None


class NameTable:
    """The names of one model's layers."""

    def __init__(
        self,
        key_map: Mapping[str, Target],
        shapes: Mapping[str, tuple[int, ...]],
        text_encoder_keys: Container[str] = frozenset(),
        prefixes: tuple[str, ...] = (),
    ) -> None:
        """Keep the names of a model.

        Args:
            key_map: Layer name without parameter to the weight that it means.
            shapes: Shape of every weight, by its full key.
            text_encoder_keys: Those of ``shapes`` that belong to a text encoder.
            prefixes: What tools put before the names of this family, beyond the usual.
        """
        self._prefixes = prefixes
        self._key_map = key_map
        self._shapes = shapes
        self._text_encoder_keys = text_encoder_keys
        self._found: dict[str, tuple[Target | None, bool, str]] = {}

    @cached_property
    def _derived(self) -> tuple[dict[str, Target], dict[str, Target | None]]:
        """Names with dots, and joined with underscores; made only when a file has names that ComfyUI does not know."""
        dotted: dict[str, Target] = {}
        joined: dict[str, Target | None] = {}
        for name, target in self._key_map.items():
            key = target_key(target)
            if key in self._text_encoder_keys or key not in self._shapes:
                continue
            bare = bare_name(name)
            dotted.setdefault(bare, target)
            underscored = bare.replace(".", "_")
            if joined.setdefault(underscored, target) != target:
                joined[underscored] = None  # two layers would be called the same
        return dotted, joined

    def find(self, layer: LoraLayer) -> tuple[Target | None, bool, str]:
        """The weight that ``layer`` changes, whether ComfyUI's own key map has the name, and why there is none."""
        target, known, problem = self.find_weight(layer.name)
        if target is None or layer.parameter != "bias":
            return target, known, problem
        bias = bias_of(target)
        if target_key(bias) not in self._shapes:
            return None, known, "the model's layer has no bias"
        return bias, known, ""

    @property
    def names(self) -> frozenset[str]:
        """Every name that this table knows, without prefixes."""
        dotted, joined = self._derived
        return frozenset((*dotted, *joined))

    def find_weight(self, name: str) -> tuple[Target | None, bool, str]:
        """The weight that a layer of this name changes, whatever its parameter; see :meth:`find`."""
        found = self._found.get(name)
        if found is None:
            found = self._look_up(name)
            if len(self._found) < _REMEMBERED and len(name) < _LONGEST:  # a collection repeats the same names
                self._found[name] = found
        return found

    def exact(self, name: str) -> Target | None:
        """What the key map itself says of a name, with its prefix."""
        found = self._key_map.get(name)
        return found if found is not None else self._key_map.get(name.removesuffix("_lora"))

    def _look_up(self, name: str) -> tuple[Target | None, bool, str]:
        exact = self.exact(name)
        if exact is not None:
            return self._checked(name.removesuffix("_lora"), exact, True)
        if _NUMBERED.match(name):
            return None, False, "it is called by a number, and which layer that is depends on the writer's version"
        dotted, joined = self._derived
        candidates = candidate_names(name, self._prefixes)
        for candidate in candidates:
            if candidate in dotted:
                return self._checked(candidate, dotted[candidate], False)
        for candidate in candidates:
            underscored = candidate.replace(".", "_")
            if underscored in joined:
                target = joined[underscored]
                if target is None:
                    return None, False, "its name, joined with underscores, fits several layers of the model"
                return self._checked(candidate, target, False)
        return None, False, ""

    def _checked(self, name: str, target: Target, known: bool) -> tuple[Target | None, bool, str]:
        offset, shape = target_offset(target), self._shapes.get(target_key(target), ())
        # ComfyUI expects four times the hidden size here; a gated MLP (FLUX.2) has six, and no layer of this name.
        if name.endswith("proj_mlp") and offset is not None and shape and sum(offset[1:]) != shape[offset[0]]:
            return None, known, "it is the MLP of another model's single blocks: this model's is of another size"
        return target, known, ""


def bias_of(target: Target) -> Target:
    """The bias of the layer whose weight is ``target``."""
    key = target_key(target).removesuffix(".weight") + ".bias"
    return key if isinstance(target, str) else (key, *target[1:])
