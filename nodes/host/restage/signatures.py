"""After a change of LoRA strengths, only the weights whose patches changed are patched again.

ComfyUI gives every list of patches a number (``patches_uuid``) and, when the number changes, takes all weights back and
patches all of them anew, however little differs. A ``PREPARE_SAMPLING`` wrapper on our clone compares the patches of
the model that is loaded with those of the model to load, key by key, and

* with dynamic VRAM: lets the modules whose patches are the same keep their ``_v_signature``, by which ComfyUI tells
  whether a page in device memory still holds the patched weight. A page that was evicted has another signature, so it
  is staged anew as ever;
* with the ordinary loader: puts back and patches the changed weights itself, by ComfyUI's own
  ``patch_weight_to_device`` and its own backup, and then says that this list of patches is loaded.

Both give the very weights that a full load gives: ComfyUI rounds each weight with a seed made from its key. Nothing is
replaced in ComfyUI. Where anything is not as expected (hooks, a partly loaded model, several devices, another compute
type, a run that failed, an unknown list of patches that was loaded in between, another version), nothing is done here
and ComfyUI loads as it always does. Adapters are compared by identity, which the caches of this pack keep from one run
to the next.

``LORA_PATCHBAY_RESTAGE=off`` switches it off. ``LORA_PATCHBAY_RESTAGE=check`` makes some of the weights that would be
kept anew all the same, compares the two, and switches it off with an error in the log if one differs.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.utils
from comfy.model_management import InterruptProcessingException
from comfy.patcher_extension import WrappersMP

from .self_check import KeptCheck, compare_anew

KEY = "lora_patchbay.restage"
SWITCH = "LORA_PATCHBAY_RESTAGE"

Patches = Mapping[str, Sequence[tuple[Any, ...]]]
"""``ModelPatcher.patches``: key of a weight to (strength, value, strength of the model, offset, function)."""


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


@dataclass(frozen=True)
class _Loaded:
    uuid: Any
    patches: Patches
    surroundings: Any


_LOADED: weakref.WeakKeyDictionary[Any, _Loaded] = weakref.WeakKeyDictionary()
"""By loaded model: the patches of our last clone of it, once its run has ended well. Holding their values keeps an
identity from being reused."""
_RUNNING: weakref.WeakKeyDictionary[Any, _Loaded] = weakref.WeakKeyDictionary()
"""The same of a run that has not ended. ComfyUI marks a page as resident before it has patched the weight in it, so
after a run that failed for want of memory a page may hold anything; then nothing is known."""
_LAST: weakref.WeakKeyDictionary[Any, tuple[Any, Restaging]] = weakref.WeakKeyDictionary()
"""By loaded model: the list of patches, and what its load kept."""
_CHECKS = threading.local()
_failed: list[str] = []


def attach_restaging(patcher: Any) -> None:
    """Have this clone keep what it can whenever it is loaded for sampling; once is enough."""
    if KEY in patcher.wrappers.get(WrappersMP.PREPARE_SAMPLING, {}):
        return
    patcher.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, _prepare)
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _run)


def last_restaging(patcher: Any) -> Restaging | None:
    """What the last load through our wrapper kept; None if it was an ordinary load."""
    uuid, last = _LAST.get(patcher.model, (None, None))
    return last if uuid == patcher.patches_uuid else None


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
    return a[0] == b[0] and a[1] is b[1] and a[2] == b[2] and a[3] == b[3] and a[4] is b[4]


def _mode() -> str:
    return "off" if _failed else os.environ.get(SWITCH, "on").strip().lower()


def loaded_patches(model: Any) -> Patches | None:
    """The patches that the weights on the device have now, as far as they are known and the others could be kept."""
    if _mode() == "off":
        return None
    loaded = getattr(model.model, "current_weight_patches_uuid", None)
    if loaded is not None and loaded == model.patches_uuid:
        return None if _has_hooks(model) else model.patches
    return _known_patches(model, _LOADED.get(model.model))


def _prepare(executor: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    """The wrapper: what is known before the load, the load, and what may be kept after it."""
    inner = model.model
    _LAST.pop(inner, None)
    dynamic, record = None, None
    begun = time.perf_counter()
    try:
        before = _LOADED.pop(inner, None)
        _RUNNING.pop(inner, None)
        record = _record(model, before)
        known = None if _mode() == "off" else _known_patches(model, before)
        if known is not None:
            changed = changed_keys(known, model.patches)
            if _is_dynamic(model):
                dynamic = _DynamicKeep(model, changed)
            else:
                _patch_changed(model, known, changed)
    except Exception:
        logging.exception("LoRA Patchbay: only changed weights could not be told from the others; all are loaded anew")
        dynamic = None
    loading = time.perf_counter()
    result = executor(model, *args, **kwargs)
    loaded = time.perf_counter()
    if dynamic is not None:
        _LAST[inner] = model.patches_uuid, dynamic.put_back()
    if record is not None and getattr(inner, "current_weight_patches_uuid", None) == record.uuid:
        _RUNNING[inner] = record
    if inner in _LAST:
        own = (loading - begun + time.perf_counter() - loaded) * 1e3
        last = replace(_LAST[inner][1], milliseconds=own)
        _LAST[inner] = model.patches_uuid, last
        logging.info("LoRA Patchbay: %s (%.1f ms)", last.sentence, own)
    return result


def _record(model: Any, before: _Loaded | None) -> _Loaded | None:
    """What will be known of this model after its run; None if it cannot be known."""
    if _has_hooks(model):
        return None
    record = _Loaded(
        model.patches_uuid, {key: tuple(value) for key, value in model.patches.items()}, _surroundings(model)
    )
    if getattr(model.model, "current_weight_patches_uuid", None) != record.uuid or not record.patches:
        return record
    # Loaded already: the weights were made from the patches of then, which another pack may have changed in place.
    if before is None or before.uuid != record.uuid or before.surroundings != record.surroundings:
        return None
    return None if changed_keys(before.patches, record.patches) else record


def _known_patches(model: Any, record: _Loaded | None) -> Patches | None:
    """The patches that are loaded now, if they are known and differ from the model's."""
    loaded = getattr(model.model, "current_weight_patches_uuid", None)
    if loaded is None or loaded == model.patches_uuid or _has_hooks(model):
        return None
    if record is not None and record.uuid == loaded:
        return record.patches if record.surroundings == _surroundings(model) else None
    parent = getattr(model, "parent", None)
    while parent is not None:
        if parent.patches_uuid == loaded:  # only without patches: of others it is not known how their run ended
            return {} if not parent.patches and _surroundings(parent) == _surroundings(model) else None
        parent = getattr(parent, "parent", None)
    return None


def _surroundings(model: Any) -> Any:
    """What else decides what becomes of a patched weight: with another of these, nothing is kept."""
    wrappers = {key: tuple(value) for key, value in (getattr(model, "weight_wrapper_patches", None) or {}).items()}
    compute = model.object_patches.get("manual_cast_dtype")
    return model.load_device, compute, getattr(model, "force_cast_weights", False), wrappers


def _has_hooks(model: Any) -> bool:
    several_devices = getattr(model, "is_multigpu_base_clone", False) or model.additional_models.get("multigpu")
    return bool(model.hook_patches or model.current_hooks or model.forced_hooks or model.hook_backup or several_devices)


def _is_dynamic(model: Any) -> bool:
    return bool(getattr(model, "is_dynamic", lambda: False)())


class _DynamicKeep:
    """The signatures of the modules that need not be staged again."""

    def __init__(self, model: Any, changed: Sequence[str]) -> None:
        self._changed = len(changed)
        touched = {id(comfy.utils.get_attr(model.model, key.rpartition(".")[0])) for key in changed}
        self._kept: list[tuple[Any, Any, Any]] = []
        for module in model.model.modules():
            signature = getattr(module, "_v_signature", None)
            if signature is not None and id(module) not in touched and hasattr(module, "_v"):
                self._kept.append((module, module._v, signature))
        if _mode() == "check":
            _CHECKS.check = KeptCheck(self._kept)

    def put_back(self) -> Restaging:
        """Give the modules their signatures back, unless their page was given up during the load."""
        check = getattr(_CHECKS, "check", None)
        kept = 0
        for module, page, signature in self._kept:
            if check is not None and check.has(module):
                continue
            if getattr(module, "_v", None) is page and getattr(module, "_v_signature", signature) is None:
                module._v_signature = signature
                kept += 1
        return Restaging(self._changed, kept)


def _patch_changed(model: Any, known: Patches, changed: Sequence[str]) -> None:
    """Bring a wholly loaded model from the patches ``known`` to its own, by its own backup."""
    inner, device = model.model, model.load_device
    if not (
        inner.model_lowvram is False
        and inner.model_loaded_weight_memory > 0
        and inner.device == device
        and not model.weight_wrapper_patches
        and all(key in model.backup for key in changed if key in known)
    ):
        return
    uuid, inner.current_weight_patches_uuid = model.patches_uuid, object()  # a failure on the way leads to a full load
    for key in changed:
        _put_back(model, key)
        if key in model.patches:
            model.patch_weight_to_device(key, device_to=device)  # copies the weight only where there is no backup yet
        else:
            model.backup.pop(key, None)
    kept = sorted(model.patches.keys() - set(changed))
    if _mode() == "check":
        differing, compared = compare_anew(model, kept, _put_back)
        if differing:
            return _switch_off(differing, compared)
    inner.current_weight_patches_uuid = uuid
    _LAST[inner] = uuid, Restaging(len(changed), len(kept), "patched weights")


def _put_back(model: Any, key: str) -> None:
    """The weight without patches, from the model's own backup; nothing where it was never patched."""
    saved = model.backup.get(key)
    if saved is not None and saved.inplace_update:
        comfy.utils.copy_to_param(model.model, key, saved.weight)
    elif saved is not None:
        comfy.utils.set_attr_param(model.model, key, saved.weight.to(model.load_device))


def _switch_off(count: int, of: int) -> None:
    _failed.append(KEY)
    logging.error(
        "LoRA Patchbay: %d of %d weights that would have been kept differ from newly patched ones. All weights are "
        "loaded anew from now on; please report this with your ComfyUI version.", count, of,
    )  # fmt: skip


def _run(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """The run: what was loaded for it is known once it has ended well. With the self-check, the comparison after it."""
    _CHECKS.check = None
    inner = getattr(getattr(getattr(executor, "class_obj", None), "model_patcher", None), "model", None)
    ended = False
    try:
        result = executor(*args, **kwargs)
        ended = True
        return result
    except InterruptProcessingException:  # comes between two layers, never within one
        ended = True
        raise
    finally:
        record = _RUNNING.pop(inner, None) if inner is not None else None
        if ended and record is not None:
            _LOADED[inner] = record
        check, _CHECKS.check = getattr(_CHECKS, "check", None), None
        if ended and check is not None and check.differing():
            _switch_off(len(check.differing()), check.count)
