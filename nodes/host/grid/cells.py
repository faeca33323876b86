"""One picture of a grid: its content key, its sampling and its decoding."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ...core.grid.plan import content_key
from ...core.grid.store import GridStore
from ...core.images.panels import from_pillow, to_pillow
from ..measure.sampling import Sampling, sample_latent
from ..transfer.content_digest import conditioning_digest, data_digest, model_digest
from .staging import GridPrompt, StageKey, Stages

KEY_VERSION = 1
_VAE_SAMPLES = 64


@dataclass(frozen=True)
class Request:
    """A picture to make."""

    stage: StageKey
    prompt: int
    seed: int
    repeat: int = 0
    """Tells a run that is repeated on purpose from the first one."""


@dataclass(frozen=True)
class Made:
    """A picture that is there."""

    picture: torch.Tensor
    """[height, width, 3] in 0..1, rounded to 8 bits."""
    key: str
    """Empty where the content cannot be named: another pack's function on the model, for example."""
    seconds: float | None
    """What making it took; ``None`` where it was read from disk and that is not known."""
    kept: bool
    note: str = ""


@dataclass(frozen=True)
class CellSettings:
    """What all cells of a grid share."""

    prompts: tuple[GridPrompt, ...]
    negative: Any
    latent: dict[str, Any]
    """With one latent: the first of a batch."""
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    vae: Any


class CellMaker:
    """Makes pictures, each once: what is in memory or on disk is not made again."""

    def __init__(self, stages: Stages, settings: CellSettings, store: GridStore | None) -> None:
        self._stages, self._settings, self._store = stages, settings, store
        self._made: dict[Request, Made] = {}
        self._shared = self._shared_digest()
        self._prompts: dict[int, str | None] = {}

    def make(self, request: Request, on_step: Callable[..., None]) -> Made:
        """The picture.

        Raises:
            PatchbayError: its LoRA cannot be applied, or its prompt cannot be encoded.
            InterruptProcessingException: somebody pressed stop.
        """
        if request in self._made:
            return self._made[request]
        stage = self._stages.get(request.stage)
        prompt = self._settings.prompts[request.prompt]
        positive = self._stages.conditioning(stage, prompt)
        key = self._key(stage.model, positive, request)
        stored = self._store.get(key) if self._store is not None and key else None
        if stored is not None:
            seconds = stored.facts.get("seconds")
            known = float(seconds) if isinstance(seconds, (int, float)) else None
            made = Made(stored.picture, key, known, True, stage.note)
        else:
            made = self._sample(stage.model, positive, request, key, stage.note, on_step)
        self._made[request] = made
        return made

    def _sample(
        self, model: Any, positive: Any, request: Request, key: str, note: str, on_step: Callable[..., None]
    ) -> Made:
        settings = self._settings
        begun = time.monotonic()
        sampling = Sampling(
            positive, settings.negative, settings.latent, request.seed, settings.steps, settings.cfg,
            settings.sampler_name, settings.scheduler,
        )  # fmt: skip
        picture = first_picture(settings.vae.decode(sample_latent(model, sampling, on_step)))
        seconds = time.monotonic() - begun
        if self._store is not None and key:
            picture = self._store.put(key, picture, {"seconds": round(seconds, 3)})
        else:
            picture = from_pillow(to_pillow(picture).convert("RGB"))
        return Made(picture, key, seconds, False, note)

    def _key(self, model: Any, positive: Any, request: Request) -> str:
        parts = (self._shared, model_digest(model), conditioning_digest(positive))
        if any(part is None for part in parts):
            return ""
        return content_key([KEY_VERSION, *parts, request.seed, request.repeat])

    def _shared_digest(self) -> str | None:
        settings = self._settings
        first_stage = getattr(settings.vae, "first_stage_model", None)
        parts = (
            data_digest(settings.latent), conditioning_digest(settings.negative),
            data_digest([type(first_stage).__name__, first_stage], _VAE_SAMPLES),
        )  # fmt: skip
        if any(part is None for part in parts):
            return None
        return content_key([*parts, settings.steps, settings.cfg, settings.sampler_name, settings.scheduler])


def first_picture(pictures: torch.Tensor) -> torch.Tensor:
    """The first picture of what a VAE decodes (of a video, the first frame): [height, width, channels] in 0..1."""
    return pictures.reshape(-1, *pictures.shape[-3:])[0].to("cpu", torch.float32).clamp(0.0, 1.0)


def one_latent(latent: dict[str, Any]) -> dict[str, Any]:
    """The first of a batch of latents: every cell is one picture."""
    kept = dict(latent)
    for name in ("samples", "noise_mask"):
        if isinstance(kept.get(name), torch.Tensor):
            kept[name] = kept[name][:1]
    if kept.get("batch_index") is not None:
        kept["batch_index"] = list(kept["batch_index"])[:1]
    return kept
