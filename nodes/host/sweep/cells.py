"""Runs one setting of a sweep: the model with the LoRA less some units, on every prompt and noise."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
from torch import Tensor

from ...core.errors import PatchbayError
from ...core.sweep.bench import Dropped, Pictures, TimeSpent
from ...core.sweep.units import Unit, setting_words, strengths_without
from ..apply.lora_cache import LoadedLora
from ..apply.method_choice import select_method
from ..apply.methods import place_plan
from ..apply.plan import MATCHES, plan_patches
from ..comfyui.shown_pictures import ShownPictures
from ..measure.run_costs import Costs
from ..measure.sampling import Sampling, sample_latent
from ..transfer.content_digest import data_digest, model_digest
from .pictures import decode_small
from .store import LATENTS

VERSION = 1
"""Of what a key stands for; a change makes earlier latents unknown."""
_REGIONS = ("area", "mask", "strength", "hooks", "start_percent", "end_percent")


@dataclass(frozen=True)
class SweepInputs:
    """What a sweep is asked to do."""

    model: Any
    lora: LoadedLora
    strength: float
    positive: Any
    negative: Any
    latent: dict[str, Any]
    seed: int
    seeds: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    mode: str
    grouping: str
    distance: float
    """Share of the LoRA's effect that may be missed."""
    budget_s: float
    own_groups: str = ""
    method: str = "auto"
    resume: bool = True
    feature_shift: bool = True
    vae: Any = None


def scenes_of(inputs: SweepInputs) -> tuple[list[Sampling], int]:
    """One sampling for each prompt and seed, and the number of prompts.

    Entries of the positive conditioning count as prompts, each on its own, unless one of them is for a region or for
    a part of the steps: then they are one prompt together.

    Raises:
        PatchbayError: there is no prompt, or the latent is of a kind that cannot be compared.
    """
    samples = inputs.latent["samples"]
    if getattr(samples, "is_nested", False):
        raise PatchbayError(
            "latent_image: a latent of several parts (picture and sound) cannot be compared yet. Use a model of one."
        )
    entries = inputs.positive
    if not entries:
        raise PatchbayError("positive: it contains no prompt. Connect at least one encoded prompt.")
    regional = any(name in options for _, options in entries for name in _REGIONS)
    prompts = [entries] if regional else [[entry] for entry in entries]
    latent = {name: value for name, value in inputs.latent.items() if name != "batch_index"}
    latent["samples"] = samples[:1]
    if latent.get("noise_mask") is not None:
        latent["noise_mask"] = latent["noise_mask"][:1]
    scenes = [
        Sampling(
            prompt, inputs.negative, latent, inputs.seed + number, inputs.steps, inputs.cfg, inputs.sampler_name,
            inputs.scheduler,
        )
        for prompt in prompts
        for number in range(inputs.seeds)
    ]  # fmt: skip
    return scenes, len(prompts)


class Cells:
    """Makes the pictures of settings. Nothing stays attached to the model that came in: each setting has a clone."""

    def __init__(self, inputs: SweepInputs, units: Sequence[Unit], scenes: Sequence[Sampling], costs: Costs) -> None:
        self._inputs, self._units, self._scenes, self._costs = inputs, tuple(units), tuple(scenes), costs
        self._keys = MATCHES.model_keys(inputs.model, None)
        plan = plan_patches(inputs.lora, self._keys, inputs.strength, 0.0, "")
        self._selection = select_method(inputs.method, plan, self._keys, inputs.model, None, False, inputs.steps)
        self._digests = self._scene_digests() if inputs.resume else [None] * len(self._scenes)
        self._begun = time.monotonic()
        self._longest = 0.0
        self._must = True
        self._pictures = ShownPictures("patchbay_sweep")
        self._settings = 0
        self.resumed = 0
        """Latents that were there from an earlier run."""
        self.latent_seconds: list[float] = []
        """Time of each sampling, without decoding."""

    @property
    def method(self) -> str:
        """``merge`` or ``bypass``."""
        return self._selection.method

    def patched(self, blocks: str = "") -> Any:
        """A clone of the model with the LoRA at these block strengths."""
        plan = plan_patches(self._inputs.lora, self._keys, self._inputs.strength, 0.0, blocks)
        name, selection = self._inputs.lora.name, self._selection
        placed = place_plan(plan, self._keys, self._inputs.model, None, name, selection.method, selection.only)
        return placed.model

    def run(self, dropped: Dropped) -> Pictures:
        """The pictures of a setting.

        Raises:
            TimeSpent: it does not fit into the time; not raised before :meth:`begin`.
            InterruptProcessingException: somebody pressed stop.
        """
        pictures = self.pictures(strengths_without(self._units, dropped))
        self._settings += 1
        if self._inputs.vae is not None:
            label = setting_words(self._units, dropped)
            self._pictures.show(str(self._settings), pictures[0], label, self._settings)
        return pictures

    def begin(self) -> None:
        """From now on settings that do not fit into the time are not begun."""
        self._must = False

    def pictures(self, blocks: str, again: bool = False, most: int | None = None) -> Pictures:
        """The pictures at these block strengths, of the first ``most`` scenes; ``again`` runs what is known, too."""
        scenes = list(zip(self._scenes, self._digests, strict=True))[:most]
        known = [None if again else LATENTS.get(_key(digest, blocks)) for _, digest in scenes]
        if any(latent is None for latent in known):
            self._check_time()
        begun = time.monotonic()
        patched, found = None, []
        for (scene, digest), latent in zip(scenes, known, strict=True):
            if latent is None:
                patched = self.patched(blocks) if patched is None else patched
                latent = self._sample(patched, scene)
                if not again:
                    LATENTS.put(_key(digest, blocks), latent)
            else:
                self.resumed += 1
                self._costs.add(-scene.steps)
            found.append(self._picture(latent))
        if patched is not None:
            self._longest = max(self._longest, time.monotonic() - begun)
        return tuple(found)

    def _check_time(self) -> None:
        spent = time.monotonic() - self._begun
        if not self._must and spent + self._longest > self._inputs.budget_s:
            raise TimeSpent

    def _sample(self, patched: Any, scene: Sampling) -> Tensor:
        def on_step(*_: Any) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            self._costs.step()

        begun = time.monotonic()
        latent = sample_latent(patched, scene, on_step)
        self.latent_seconds.append(time.monotonic() - begun)
        return latent

    def _picture(self, latent: Tensor) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self._inputs.vae is None:
            return latent.float()
        return decode_small(self._inputs.vae, latent)

    def _scene_digests(self) -> list[str | None]:
        """By scene: a hash of everything that its latents depend on besides the units that are left out."""
        of_model = model_digest(self.patched())
        digests: list[str | None] = []
        for scene in self._scenes:
            of_scene = data_digest(
                [scene.positive, scene.negative, dict(scene.latent), scene.seed, scene.steps, scene.cfg,
                 scene.sampler_name, scene.scheduler]
            )  # fmt: skip
            known = of_model is not None and of_scene is not None
            digests.append(f"{VERSION} {self.method} {of_model} {of_scene}" if known else None)
        return digests


def _key(digest: str | None, blocks: str) -> str | None:
    return None if digest is None else hashlib.sha256(f"{digest} {blocks}".encode()).hexdigest()[:40]
