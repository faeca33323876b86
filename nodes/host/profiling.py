"""Takes profiles of models on probes, and keeps them by the content of the model and its LoRAs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folder_paths
import torch
from torch import Tensor

from ..core.errors import PatchbayError
from ..core.shift_profile import OUTPUT, ProbeId, Profile, load_profile, save_profile
from ..core.shift_stats import SKETCH_SIZE, Sketcher
from .activations import BlockTap
from .matching import is_adapter
from .norms import parameter
from .probes import Probes, evaluate

CACHE_BYTES = 512 << 20
"""Profiles on disk beyond this total are deleted, the oldest first."""

_SAMPLES = 64
_PATCH_SAMPLES = 4096
_SKETCHER = Sketcher()


def take_profile(model: Any, probes: Probes, step_done: Callable[[], None] = lambda: None) -> Profile:
    """Evaluate ``model`` on the probes and record every stream of every block, and the output.

    Probes without latents are walked along the model's own trajectory, and the profile keeps the latents.

    Raises:
        PatchbayError: the model calls none of its blocks as modules (a compiled model).
    """
    profile = Profile()
    taps: list[BlockTap] = []

    def tap(probe: ProbeId) -> BlockTap:
        taps.append(BlockTap(model, lambda block, stream, f: _add(profile, f"{block}|{stream}", probe, f)))
        return taps[-1]

    def seen(probe: ProbeId, x: Tensor, derivative: Tensor) -> None:
        _add(profile, OUTPUT, probe, derivative.movedim(1, -1).flatten(0, -2))
        if probe not in probes.latents:
            profile.latents[probe] = x

    evaluate(model, probes, seen, tap, step_done)
    if not any(tap.seen for tap in taps):
        raise PatchbayError(
            "The features of this model cannot be read: none of its blocks reported anything. A compiled model hides "
            "them; connect the model from before the compile node."
        )
    return profile


def _add(profile: Profile, name: str, probe: ProbeId, features: Tensor) -> None:
    if features.device.type == "mps":
        features = features.cpu()  # it has no float64
    profile.add(name, probe, features.detach(), _SKETCHER)


class ProfileCache:
    """Profiles on disk, by model, patches and probes."""

    def __init__(self, folder: Callable[[], str] | None = None, limit_bytes: int = CACHE_BYTES) -> None:
        self._folder = folder or _default_folder
        self._limit = limit_bytes

    def get(self, model: Any, probes: Probes, run: str = "") -> Profile | None:
        """The profile, if it was taken before. A damaged file counts as missing and is deleted.

        Args:
            run: Tells apart runs that are repeated on purpose.
        """
        path = self._path(model, probes, run)
        if not path.is_file():
            return None
        try:
            profile = load_profile(path)
        except (PatchbayError, OSError):
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return profile

    def put(self, model: Any, probes: Probes, profile: Profile, run: str = "") -> None:
        """Keep a profile, and delete the oldest ones beyond the limit."""
        path = self._path(model, probes, run)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_profile(path, profile)
        files = sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in files:
            total += file.stat().st_size
            if total > self._limit and file != path:
                file.unlink(missing_ok=True)

    def _path(self, model: Any, probes: Probes, run: str) -> Path:
        text = f"1 {SKETCH_SIZE} {run} {model_digest(model)} {probes.digest}"
        key = hashlib.sha256(text.encode()).hexdigest()
        return Path(self._folder()) / f"{key[:40]}.safetensors"


def _default_folder() -> str:
    return os.path.join(folder_paths.get_user_directory(), "lora_patchbay", "profiles")


PROFILES = ProfileCache()
"""Shared by all nodes."""


def model_digest(model: Any) -> str:
    """A hash of what a model computes with: samples of its unpatched weights, and its patches with their strengths.

    64 numbers of every weight are read and 4,096 of every tensor of a patch, which tells any two trained models apart
    without reading gigabytes.
    """
    state = hashlib.sha256(type(model.model).__name__.encode())
    for key, tensor in model.model_state_dict().items():
        backup = model.backup.get(key)
        weight = backup.weight if backup is not None else parameter(model, key)
        if not isinstance(weight, Tensor):
            weight = tensor
        state.update(f"{key} {tuple(weight.shape)} {weight.dtype}".encode())
        _sample(state, weight, _SAMPLES)
    for key in sorted(model.patches, key=str):
        for strength, value, strength_model, offset, function in model.patches[key]:
            state.update(f"{key} {strength} {strength_model} {offset} {function is not None}".encode())
            _patch(state, value)
    options = model.model_options.get("transformer_options", {})
    state.update(str(sorted(map(str, options))).encode())
    state.update(str(sorted(map(str, model.object_patches))).encode())
    state.update(str(getattr(model.get_model_object("model_sampling"), "shift", "")).encode())
    return state.hexdigest()


def _patch(state: Any, value: Any) -> None:
    if is_adapter(value):
        state.update(value.name.encode())
        value = value.weights
    if isinstance(value, Tensor):
        state.update(f"{tuple(value.shape)} {value.dtype}".encode())
        _sample(state, value, _PATCH_SAMPLES)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _patch(state, item)
    else:
        state.update(repr(value).encode())


def _sample(state: Any, tensor: Tensor, count: int) -> None:
    if tensor.is_meta or tensor.numel() == 0:
        return
    if type(tensor) not in (Tensor, torch.nn.Parameter) and hasattr(tensor, "_qdata"):
        tensor = getattr(tensor, "_qdata")  # noqa: B009 - a quantised weight: the stored numbers
    flat = tensor.detach().reshape(-1)
    step = max(1, flat.numel() // count)
    picked = flat[::step][:count].cpu()
    if picked.dtype == torch.bool or not picked.dtype.is_floating_point:
        picked = picked.to(torch.int64)
    state.update(picked.to(torch.float64).numpy().tobytes())
