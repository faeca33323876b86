"""Patches on buffers and on parameters of modules with modules inside: H3's time table, Wan's tables of modulations.

ComfyUI's loader goes through the parameters of modules that have no others inside. A patch on anything else is kept and
never computed. After each load we compute those, with ComfyUI's own function, which keeps the original for unloading
as it does for every other weight.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import comfy.utils
from comfy.patcher_extension import CallbacksMP

from ..comfyui.private import callbacks, has_kept_weights, keeps_buffer

OWN_PARAMETERS = "lora_patchbay_own_parameters"
"""Key of our callback on a patcher."""


def patch_own_parameters(patcher: Any, keys: Iterable[str]) -> None:
    """Make sure that patches on ``keys`` are computed too where ComfyUI's loader would pass them by."""
    if any(_passed_by(patcher.model, key) for key in keys):
        known = callbacks(patcher).get(CallbacksMP.ON_LOAD, {})
        if OWN_PARAMETERS not in known:
            patcher.add_callback_with_key(CallbacksMP.ON_LOAD, OWN_PARAMETERS, _compute)


def _passed_by(model: Any, key: str) -> bool:
    """Whether a key names a buffer, or a parameter of a module that has parameters further inside."""
    path, _, name = key.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return False
    if _is_buffer(module, name):
        return True
    own = dict(module.named_parameters(recurse=False))
    return name in own and any(inner not in own for inner, _ in module.named_parameters())


def _compute(patcher: Any, device_to: Any, *_: Any) -> None:
    for key in patcher.patches:
        if not has_kept_weights(patcher, [key]) and _passed_by(patcher.model, key):
            _compute_one(patcher, key, device_to)


def _compute_one(patcher: Any, key: str, device_to: Any) -> None:
    path, _, name = key.rpartition(".")
    if not _is_buffer(patcher.model.get_submodule(path), name):
        patcher.patch_weight_to_device(key, device_to=device_to)
    elif keeps_buffer(patcher, key):  # its loader keeps the original and puts it back
        value = patcher.patch_weight_to_device(key, device_to=device_to, return_weight=True)
        comfy.utils.set_attr_buffer(patcher.model, key, value)
    else:  # a new value would make a parameter of it
        patcher.patch_weight_to_device(key, device_to=device_to, inplace_update=True)


def _is_buffer(module: Any, name: str) -> bool:
    return any(name == own for own, _ in module.named_buffers(recurse=False))
