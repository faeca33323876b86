"""Takes profiles of models on probes, and keeps them by the content of the model and its LoRAs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import folder_paths
from torch import Tensor

from ...core.errors import PatchbayError
from ...core.transfer.feature_stats import SKETCH_SIZE, Sketcher
from ...core.transfer.profile import OUTPUT, ProbeId, Profile, load_profile, save_profile
from .activations import BlockTap
from .content_digest import model_digest
from .probes import Probes, evaluate

CACHE_BYTES = 512 << 20
"""Profiles on disk beyond this total are deleted, the oldest first."""

_SKETCHER = Sketcher()
_depth = [0]


@contextmanager
def sketching() -> Iterator[None]:
    """While it is entered, permutations and signs of a random projection stay on the device; then they are dropped.

    One measurement needs the same ones for each evaluation, and they take 70 MB for the tokens of a large picture.
    """
    _depth[0] += 1
    try:
        yield
    finally:
        _depth[0] -= 1
        if not _depth[0]:
            _SKETCHER.forget()


@sketching()
def take_profile(
    model: Any, probes: Probes, step_done: Callable[[], None] = lambda: None, inside: bool = True
) -> Profile:
    """Evaluate ``model`` on the probes and record every stream of every block, and the output.

    Probes without latents are walked along the model's own trajectory, and the profile keeps the latents.

    Args:
        inside: Record the blocks too, not the output alone.

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

    evaluate(model, probes, seen, tap if inside else None, step_done)
    if inside and not any(tap.seen for tap in taps):
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
        if path is None or not path.is_file():
            return None
        try:
            profile = load_profile(path)
        except (PatchbayError, OSError):
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return profile

    def put(self, model: Any, probes: Probes, profile: Profile, run: str = "") -> None:
        """Keep a profile, and delete the oldest ones beyond the limit. What has no digest is not kept."""
        path = self._path(model, probes, run)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        save_profile(path, profile)
        files = sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in files:
            total += file.stat().st_size
            if total > self._limit and file != path:
                file.unlink(missing_ok=True)

    def _path(self, model: Any, probes: Probes, run: str) -> Path | None:
        of_model, of_probes = model_digest(model), probes.digest
        if of_model is None or of_probes is None:
            return None
        text = f"3 {SKETCH_SIZE} {run} {of_model} {of_probes}"
        key = hashlib.sha256(text.encode()).hexdigest()
        return Path(self._folder()) / f"{key[:40]}.safetensors"


def _default_folder() -> str:
    return os.path.join(folder_paths.get_user_directory(), "lora_patchbay", "profiles")


PROFILES = ProfileCache()
"""Shared by all nodes."""
