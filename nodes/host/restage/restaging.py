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
from dataclasses import dataclass, replace
from typing import Any

from comfy.model_management import InterruptProcessingException
from comfy.patcher_extension import WrappersMP

from ..comfyui.private import (
    has_hooks,
    is_dynamic,
    list_in_weights,
    list_of_patches,
    parents,
    surroundings,
    wrappers,
)
from .keep import DynamicKeep, Patched, Restaging, patch_changed
from .patch_lists import Patches, changed_keys

KEY = "lora_patchbay.restage"
SWITCH = "LORA_PATCHBAY_RESTAGE"

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
    if KEY in wrappers(patcher, WrappersMP.PREPARE_SAMPLING):
        return
    patcher.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, _prepare)
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _run)


def last_restaging(patcher: Any) -> Restaging | None:
    """What the last load through our wrapper kept; None if it was an ordinary load."""
    uuid, last = _LAST.get(patcher.model, (None, None))
    return last if uuid == list_of_patches(patcher) else None


def _mode() -> str:
    return "off" if _failed else os.environ.get(SWITCH, "on").strip().lower()


def loaded_patches(model: Any) -> Patches | None:
    """The patches that the weights on the device have now, as far as they are known and the others could be kept."""
    if _mode() == "off":
        return None
    loaded = list_in_weights(model.model)
    if loaded is not None and loaded == list_of_patches(model):
        return None if has_hooks(model) else model.patches
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
            if is_dynamic(model):
                dynamic = DynamicKeep(model, changed, _mode() == "check")
                _CHECKS.check = dynamic.check
            else:
                _note(inner, list_of_patches(model), patch_changed(model, known, changed, _mode() == "check"))
    except Exception:
        logging.exception("LoRA Patchbay: only changed weights could not be told from the others; all are loaded anew")
        dynamic = None
    loading = time.perf_counter()
    result = executor(model, *args, **kwargs)
    loaded = time.perf_counter()
    if dynamic is not None:
        _LAST[inner] = list_of_patches(model), dynamic.put_back()
    if record is not None and list_in_weights(inner) == record.uuid:
        _RUNNING[inner] = record
    if inner in _LAST:
        own = (loading - begun + time.perf_counter() - loaded) * 1e3
        last = replace(_LAST[inner][1], milliseconds=own)
        _LAST[inner] = list_of_patches(model), last
        logging.info("LoRA Patchbay: %s (%.1f ms)", last.sentence, own)
    return result


def _record(model: Any, before: _Loaded | None) -> _Loaded | None:
    """What will be known of this model after its run; None if it cannot be known."""
    if has_hooks(model):
        return None
    patches = {key: tuple(value) for key, value in model.patches.items()}
    record = _Loaded(list_of_patches(model), patches, surroundings(model))
    if list_in_weights(model.model) != record.uuid or not record.patches:
        return record
    # Loaded already: the weights were made from the patches of then, which another pack may have changed in place.
    if before is None or before.uuid != record.uuid or before.surroundings != record.surroundings:
        return None
    return None if changed_keys(before.patches, record.patches) else record


def _known_patches(model: Any, record: _Loaded | None) -> Patches | None:
    """The patches that are loaded now, if they are known and differ from the model's."""
    loaded = list_in_weights(model.model)
    if loaded is None or loaded == list_of_patches(model) or has_hooks(model):
        return None
    if record is not None and record.uuid == loaded:
        return record.patches if record.surroundings == surroundings(model) else None
    for parent in parents(model):
        if list_of_patches(parent) == loaded:  # only without patches: of others it is not known how their run ended
            return {} if not parent.patches and surroundings(parent) == surroundings(model) else None
    return None


def _note(inner: Any, number: Any, done: Patched | None) -> None:
    """Remember what was kept, or that it was wrong."""
    if done is None:
        return
    if done.restaging is None:
        return _switch_off(done.differing, done.compared)
    _LAST[inner] = number, done.restaging


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
