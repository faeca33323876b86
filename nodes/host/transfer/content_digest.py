"""Hashes of what a model computes with and of what it is given, for the cache of profiles.

What cannot be hashed - another pack's function on the model, a hook on the conditioning - has no digest, and then
nothing is cached: a figure of another model would be worse than a second run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..bypass.hooks import BYPASS, BypassStack, bypass_stack
from ..comfyui.private import (
    callbacks,
    has_wrapped_weights,
    injections,
    kept_weight,
    object_patches,
    stored_numbers,
    wrappers,
)
from ..match.roles import is_adapter
from ..measure.context import arithmetic
from ..norms.patches import parameter

_WEIGHT_SAMPLES = 64
_PATCH_SAMPLES = 4096
_OURS = "lora_patchbay"
"""Wrappers and callbacks under this start of a key watch, and stage weights; they do not change what is computed."""


class _NoDigest(Exception):
    """Something has no content that could be hashed."""


def model_digest(model: Any) -> str | None:
    """A hash of what a model computes with: samples of its unpatched weights, and its patches with their strengths.

    64 numbers of every weight are read and 4,096 of every tensor of a patch, which tells any two trained models apart
    without reading gigabytes. ``None`` where something else is attached that cannot be hashed.
    """
    state = hashlib.sha256(f"{type(model.model).__name__} {torch.__version__} {model.load_device}".encode())
    state.update(repr(arithmetic()).encode())
    try:
        _add_weights(state, model)
        for key in sorted(model.patches, key=str):
            for strength, value, strength_model, offset, function in model.patches[key]:
                state.update(f"{key} {strength} {strength_model} {offset} {function is not None}".encode())
                _add(state, value.weights if is_adapter(value) else value, _PATCH_SAMPLES)
        _add_attached(state, model)
    except _NoDigest:
        return None
    return state.hexdigest()


def conditioning_digest(conditioning: list[list[Any]]) -> str | None:
    """A hash of prompts with everything that they carry; ``None`` where one carries hooks or the like."""
    return data_digest(conditioning)


def data_digest(value: Any, samples: int | None = None) -> str | None:
    """A hash of plain data, tensors and modules; ``samples`` numbers of each tensor, all of them without.

    ``None`` where it holds something else.
    """
    state = hashlib.sha256()
    try:
        _add(state, value, samples)
    except _NoDigest:
        return None
    return state.hexdigest()


def _add_weights(state: Any, model: Any) -> None:
    for key, tensor in model.model_state_dict().items():
        kept = kept_weight(model, key)
        weight = parameter(model, key) if kept is None else kept
        state.update(key.encode())
        _add(state, weight if isinstance(weight, Tensor) else tensor, _WEIGHT_SAMPLES)
    # The same weights compute something else in other layers (fast fp8) or in another dtype.
    kinds = {f"{type(module).__module__}.{type(module).__qualname__}" for module in model.model.modules()}
    state.update(f"{sorted(kinds)} {getattr(model.model, 'manual_cast_dtype', None)}".encode())


def _add_attached(state: Any, model: Any) -> None:
    """Everything besides weights and patches that changes what a model computes."""
    stack = bypass_stack(model)
    for term in stack.terms if isinstance(stack, BypassStack) else ():
        state.update(f"beside {term.model_key} {term.strength} {term.beside.offset}".encode())
        _add(state, term.value.weights if is_adapter(term.value) else term.value, _PATCH_SAMPLES)
    if any(not str(key).startswith(BYPASS) for key in injections(model)):
        raise _NoDigest
    for by_key in (*wrappers(model).values(), *callbacks(model).values()):
        if any(found and not str(key).startswith(_OURS) for key, found in by_key.items()):
            raise _NoDigest
    if has_wrapped_weights(model):
        raise _NoDigest
    _add(state, model.model_options, None)
    _add(state, object_patches(model), _PATCH_SAMPLES)  # a compiled model is one of these: not all of its weights
    _add(state, model.get_model_object("model_sampling"), None)


def _add(state: Any, value: Any, samples: int | None) -> None:
    """Hash a value of plain data, tensors and modules; ``samples`` numbers of each tensor, all without."""
    state.update(type(value).__name__.encode())
    if value is None or isinstance(value, (str, bytes, bool, int, float, complex, torch.dtype, torch.device)):
        state.update(repr(value).encode())
    elif isinstance(value, Tensor):
        _add_tensor(state, value, samples)
    elif isinstance(value, (list, tuple)):
        state.update(str(len(value)).encode())
        for item in value:
            _add(state, item, samples)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            _add(state, key, samples)
            _add(state, value[key], samples)
    elif isinstance(value, torch.nn.Module):
        plain = {name: each for name, each in vars(value).items() if isinstance(each, (str, bool, int, float))}
        _add(state, {**plain, **value.state_dict()}, samples)
    else:
        raise _NoDigest


def _add_tensor(state: Any, tensor: Tensor, samples: int | None) -> None:
    state.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    if tensor.is_meta or tensor.numel() == 0:
        return
    flat = stored_numbers(tensor).detach().reshape(-1)
    if samples is not None:
        flat = flat[:: max(1, flat.numel() // samples)][:samples]
    flat = flat.cpu()
    if flat.dtype == torch.bool or not (flat.dtype.is_floating_point or flat.dtype.is_complex):
        flat = flat.to(torch.int64)
    elif flat.dtype.is_floating_point:
        flat = flat.to(torch.float64)
    state.update(flat.contiguous().numpy().tobytes())
