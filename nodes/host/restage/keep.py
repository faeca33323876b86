"""The two ways to leave weights as they are: signatures of pages, and patching only what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import comfy.utils

from ..comfyui.private import (
    forget_kept_weight,
    has_kept_weights,
    has_wrapped_weights,
    is_wholly_loaded,
    keep_page,
    lay_aside,
    list_of_patches,
    page_of,
    page_signature,
    put_back,
    say_list_in_weights,
)
from .patch_lists import Patches
from .self_check import KeptCheck, compare_anew


@dataclass(frozen=True)
class Restaging:
    """What the last load of a model kept."""

    changed: int
    """Weights whose patches differ from those that were loaded."""
    kept: int
    """Modules (dynamic VRAM) or patched weights (ordinary loader) that were left as they were."""
    unit: str = field(default="modules", compare=False)
    milliseconds: float = field(default=0.0, compare=False)
    """Time of our own part: the comparison and what was kept; with the ordinary loader the patching as well."""

    @property
    def sentence(self) -> str:
        """For the report of a measurement."""
        weights = "1 weight has" if self.changed == 1 else f"{self.changed} weights have"
        return f"{weights} other LoRA strengths than in the run before; {self.kept} {self.unit} were kept."


class DynamicKeep:
    """Dynamic VRAM: the signatures of the modules that need not be staged again.

    Args:
        changed: Keys of the weights whose patches differ.
        check: Take copies of some of the weights, to compare them with newly staged ones after the run.
    """

    def __init__(self, model: Any, changed: Sequence[str], check: bool = False) -> None:
        self._changed = len(changed)
        touched = {id(comfy.utils.get_attr(model.model, key.rpartition(".")[0])) for key in changed}
        self._kept: list[tuple[Any, Any, Any]] = []
        for module in model.model.modules():
            page, signature = page_of(module), page_signature(module)
            if page is not None and signature is not None and id(module) not in touched:
                self._kept.append((module, page, signature))
        self.check = KeptCheck(self._kept) if check else None

    def put_back(self) -> Restaging:
        """Give the modules their signatures back, unless their page was given up during the load."""
        chosen = (entry for entry in self._kept if self.check is None or not self.check.has(entry[0]))
        return Restaging(self._changed, sum(keep_page(*entry) for entry in chosen))


@dataclass(frozen=True)
class Patched:
    """What became of the weights of a wholly loaded model."""

    restaging: Restaging | None
    """``None`` where the comparison found another weight: the model has to be loaded anew."""
    differing: int = 0
    compared: int = 0


def patch_changed(model: Any, known: Patches, changed: Sequence[str], check: bool = False) -> Patched | None:
    """The ordinary loader: bring a wholly loaded model from the patches ``known`` to its own, by its own backup.

    Returns:
        ``None`` where nothing was done, because the model is not wholly loaded or its weights are not all kept.
    """
    patched_before = [key for key in changed if key in known]
    if not is_wholly_loaded(model) or has_wrapped_weights(model) or not has_kept_weights(model, patched_before):
        return None
    number = list_of_patches(model)
    say_list_in_weights(model.model, object())  # a failure on the way leads to a full load
    changed = sorted(changed, key=lambda key: _elements(model, key), reverse=True)
    make_room(model, changed)
    for key in changed:
        put_back(model, key)
        if key in model.patches:  # copies the weight only where there is no backup yet
            model.patch_weight_to_device(key, device_to=model.load_device)
        else:
            forget_kept_weight(model, key)
    kept = sorted(model.patches.keys() - set(changed))
    if check:
        differing, compared = compare_anew(model, kept, put_back)
        if differing:
            return Patched(None, differing, compared)
    say_list_in_weights(model.model, number)
    return Patched(Restaging(len(changed), len(kept), "patched weights"))


PATCHING_BYTES = 12
"""For each number of a weight: patching makes it, the change and the scaled change in float32."""


def make_room(model: Any, keys: Sequence[str]) -> int:
    """Take the last of ``keys``, the smallest, off the device while the first, the largest, are patched; bytes taken.

    ComfyUI takes the whole model off the device before it patches and brings it back weight by weight, the largest
    first, so that patching works where weights will come. On top of a whole model it would take 1 to 2 GiB more.
    """
    if not keys or model.load_device == model.offload_device:
        return 0
    needed, taken = PATCHING_BYTES * _elements(model, keys[0]), 0
    for key in reversed(keys[1:]):
        if taken >= needed:
            break
        taken += lay_aside(model, key)
    if taken:
        comfy.model_management.soft_empty_cache()
    return taken


def _elements(model: Any, key: str) -> int:
    return int(comfy.utils.get_attr(model.model, key).numel())
