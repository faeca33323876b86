"""Whether what would be kept is what ComfyUI makes anew: the self-check of :mod:`.restaging`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import comfy.utils
import torch

from ..comfyui.private import page_of, page_signature, paged_weight, stored_numbers

MODULES = 8
"""So many are compared in a run; each needs a copy of its weight."""


class KeptCheck:
    """Copies of some resident weights before a load, to compare with what is in their pages after the run.

    Args:
        kept: (module, page, signature) of the modules that could be kept.
    """

    def __init__(self, kept: Sequence[tuple[Any, Any, Any]]) -> None:
        chosen = random.sample(list(kept), min(MODULES, len(kept)))
        copies = [(module, paged_weight(page, signature, module)) for module, page, signature in chosen]
        self._copies = {id(module): (module, copy) for module, copy in copies if copy is not None}

    @property
    def count(self) -> int:
        """Modules that are compared."""
        return len(self._copies)

    def has(self, module: Any) -> bool:
        """Whether this module has to be staged anew for the comparison."""
        return id(module) in self._copies

    def differing(self) -> list[Any]:
        """The modules whose page, staged anew, is not what it was; those that are not resident now are left out."""
        return self._differing

    @cached_property
    def _differing(self) -> list[Any]:
        found = []
        for module, copy in self._copies.values():
            signature = page_signature(module)
            now = None if signature is None else paged_weight(page_of(module), signature, module)
            if now is not None and not torch.equal(now.view(torch.uint8), copy.view(torch.uint8)):
                found.append(module)
        return found


def compare_anew(model: Any, kept: Sequence[str], put_back: Callable[[Any, str], None]) -> tuple[int, int]:
    """Patch some of the kept weights of a wholly loaded model anew: how many were another before, and of how many.

    Args:
        model: Its ``ModelPatcher``; the newly patched weights stay in it.
        put_back: Gives a weight of the model its unpatched value.
    """
    chosen = random.sample(list(kept), min(MODULES, len(kept)))
    differing = 0
    for key in chosen:
        before = _bytes(model.model, key).clone()
        put_back(model, key)
        model.patch_weight_to_device(key, device_to=model.load_device)
        differing += not torch.equal(_bytes(model.model, key), before)
    return differing, len(chosen)


def _bytes(model: Any, key: str) -> torch.Tensor:
    weight = comfy.utils.get_attr(model, key)
    return stored_numbers(weight).detach().contiguous().view(torch.uint8)
