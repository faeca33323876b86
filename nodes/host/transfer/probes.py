"""Evaluates models on given noisy latents (teacher-forced), through ComfyUI's own guider.

A *scene* is one prompt with one noise; a *probe* is a scene at one sigma. Every model sees the same latents, so that a
difference of features is a difference of models and not of trajectories.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import torch
from torch import Tensor

from ...core.errors import PatchbayError
from ...core.transfer.profile import ProbeId
from .content_digest import conditioning_digest

Conditioning = list[list[Any]]


@dataclass(frozen=True)
class Scene:
    """One prompt and one noise."""

    prompt: int
    seed: int
    """Number of the noise for this prompt."""
    conditioning: Conditioning
    noise: Tensor
    """[1, channels, height, width] (video: with frames), float32."""


@dataclass(frozen=True)
class Probes:
    """What models are evaluated on."""

    scenes: tuple[Scene, ...]
    sigmas: tuple[float, ...]
    """The noise levels that are evaluated, descending."""
    end: float
    """The level after the last one; only its distance counts."""
    latent: Tensor
    """The picture that is noised; all zero where the model's own trajectory is taken."""
    latents: dict[ProbeId, Tensor] = field(default_factory=dict)
    """The noisy latent of each probe, float32 on the CPU; empty before they are made."""

    def __len__(self) -> int:
        return len(self.scenes) * len(self.sigmas)

    def only(self, keep: Callable[[Scene], bool]) -> Probes:
        """The probes of some of the scenes."""
        return replace(self, scenes=tuple(scene for scene in self.scenes if keep(scene)))

    @property
    def digest(self) -> str | None:
        """A hash of everything that a profile depends on besides the model; ``None`` where that cannot be hashed."""
        state = hashlib.sha256(repr((self.sigmas, [(s.prompt, s.seed) for s in self.scenes])).encode())
        state.update(self.latent.contiguous().float().numpy().tobytes())
        for scene in self.scenes:
            state.update(scene.noise.contiguous().float().numpy().tobytes())
            for probe in self.of(scene):
                if probe in self.latents:
                    state.update(self.latents[probe].contiguous().numpy().tobytes())
            prompt = conditioning_digest(scene.conditioning)
            if prompt is None:
                return None
            state.update(prompt.encode())
        return state.hexdigest()

    def of(self, scene: Scene) -> list[ProbeId]:
        """The probes of one scene, in order."""
        return [(scene.prompt, scene.seed, step) for step in range(len(self.sigmas))]


def plan_probes(
    model: Any,
    conditioning: Conditioning,
    latent_image: dict[str, Any],
    sigmas: Tensor,
    seed: int,
    seeds: int,
    levels: int,
) -> Probes:
    """Decide what will be evaluated; nothing runs yet.

    Args:
        conditioning: Every entry is one prompt.
        sigmas: A schedule, with its final 0.
        seeds: Noises for each prompt.
        levels: Evaluate at most so many of the schedule's levels, evenly spaced; the first is always one.

    Raises:
        PatchbayError: there is no prompt or no noise level.
    """
    if not conditioning:
        raise PatchbayError("conditioning: it contains no prompt. Connect at least one encoded prompt.")
    schedule = [float(value) for value in sigmas.tolist()]
    if len(schedule) < 2 or schedule[0] <= 0:
        raise PatchbayError(
            f"sigmas: expected a schedule of at least one step that ends at 0, got {schedule or 'nothing'}. "
            "Connect the scheduler that you sample with."
        )
    chosen = _spread(schedule[:-1], levels)
    latent = comfy.sample.fix_empty_latent_channels(model, latent_image["samples"][:1])
    scenes: list[Scene] = []
    for prompt, entry in enumerate(conditioning):
        for number in range(seeds):
            noise = comfy.sample.prepare_noise(latent, seed + prompt * seeds + number)
            scenes.append(Scene(prompt, number, [entry], noise))
    return Probes(tuple(scenes), tuple(chosen), schedule[-1], latent)


def _spread(levels: list[float], count: int) -> list[float]:
    if len(levels) <= count:
        return levels
    return [levels[round(i * (len(levels) - 1) / max(1, count - 1))] for i in range(count)]


Seen = Callable[[ProbeId, Tensor, Tensor], None]
"""Called with a probe, its latent and the model's derivative there, both on the CPU in float32."""
Tap = Callable[[ProbeId], AbstractContextManager[Any]]
"""Makes what is entered around one evaluation."""


def evaluate(
    model: Any,
    probes: Probes,
    seen: Seen,
    tap: Tap | None = None,
    step_done: Callable[[], None] = lambda: None,
    negative: Conditioning | None = None,
) -> None:
    """Run ``model`` on every probe, without guidance.

    Where ``probes.latents`` lacks a scene, the scene is walked along this model's own trajectory (Euler), or the given
    picture is noised; ``seen`` gets the latents either way.

    Args:
        negative: Evaluate with this prompt in place of each scene's own.
    """
    for scene in probes.scenes:
        walk = _Walk(probes, scene, seen, tap or (lambda probe: nullcontext()), step_done)
        guider = comfy.samplers.CFGGuider(model)
        guider.inner_set_conds({"positive": scene.conditioning if negative is None else negative})
        guider.set_cfg(1.0)
        sigmas = torch.tensor([*probes.sigmas, probes.end], dtype=torch.float32)
        latent = probes.latent.to(scene.noise)
        guider.sample(scene.noise, latent, comfy.samplers.KSAMPLER(walk), sigmas, disable_pbar=True, seed=scene.seed)


class _Walk:
    """A sampler that evaluates instead of sampling."""

    __name__ = "patchbay_probe"

    def __init__(self, probes: Probes, scene: Scene, seen: Seen, tap: Tap, step_done: Callable[[], None]) -> None:
        self._probes, self._scene, self._seen, self._tap, self._step_done = probes, scene, seen, tap, step_done

    def __call__(self, model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: Any) -> Tensor:
        ids = self._probes.of(self._scene)
        noised = bool(torch.count_nonzero(model.latent_image)) if model.latent_image is not None else False
        for step, probe in enumerate(ids):
            comfy.model_management.throw_exception_if_processing_interrupted()
            sigma = sigmas[step]
            given = self._probes.latents.get(probe)
            if given is not None:
                x = given.to(x)
            elif noised:
                x = _noise_picture(model, sigma, x)
            with self._tap(probe):
                denoised = model(x, sigma * x.new_ones([x.shape[0]]), **extra_args)
            derivative = (x - denoised) / sigma
            self._seen(probe, x.detach().float().cpu(), derivative.detach().float().cpu())
            x = x + derivative * (sigmas[step + 1] - sigma)
            self._step_done()
        return x


def _noise_picture(model: Any, sigma: Tensor, x: Tensor) -> Tensor:
    sampling = model.inner_model.inner_model.model_sampling
    return sampling.noise_scaling(sigma, model.noise.to(x), model.latent_image.to(x), False)


def walk_latents(
    model: Any, probes: Probes, tap: Tap | None = None, step_done: Callable[[], None] = lambda: None
) -> Probes:
    """The probes with their latents, taken from ``model``'s own trajectory (or from the noised picture)."""
    latents: dict[ProbeId, Tensor] = {}
    evaluate(model, probes, lambda probe, x, _: latents.__setitem__(probe, x), tap, step_done)
    return replace(probes, latents=latents)


def outputs(
    model: Any, probes: Probes, step_done: Callable[[], None] = lambda: None, negative: Conditioning | None = None
) -> dict[ProbeId, Tensor]:
    """The model's derivative at every probe, float32 on the CPU."""
    found: dict[ProbeId, Tensor] = {}
    evaluate(model, probes, lambda probe, _, value: found.__setitem__(probe, value), None, step_done, negative)
    return found


def evaluations(probe_sets: Iterable[Probes]) -> int:
    """Number of model evaluations."""
    return sum(len(probes) for probes in probe_sets)
