"""Teaches a LoRA to another model: from the start that fits best to a new file, if that is better than the old one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.sample
import folder_paths
import torch
from torch import Tensor

from ...core.bake.file import free_path, relative_name
from ...core.errors import PatchbayError
from ...core.files.hashes import file_hashes
from ...core.files.names import file_in_folder
from ...core.files.writer import TensorWriter, metadata_size
from ...core.match.alignment import MeasuredMap
from ...core.transfer.guidance import Guidance
from ...core.transfer.teach_report import FROM_PLAIN, FROM_REMAPPED, FROM_ZERO, PLAIN, REMAPPED, forecast_text
from ...core.transfer.teaching import FRUITLESS_ROUNDS, LEAST_GAIN, Held, held_out, is_better, largest_rate
from ..apply.lora_cache import LORA_CACHE, LoadedLora
from ..apply.plan import MATCHES
from ..apply.renumber import number_lora
from ..comfyui.folders import writable_lora_folder
from ..measure.run_costs import Costs
from ..transfer.content_digest import conditioning_digest, model_digest
from ..transfer.feature_shift import require_same_latents
from ..transfer.moved_blocks import moved_blocks
from ..transfer.probes import Conditioning
from ..transfer.strength_lab import patch_model
from .batches import batch_size, check_prompts
from .examples import Lesson, Prompts, Teacher
from .factors import Factors, factors_of, layer_kinds, start_factors, tensors_of
from .forecast import Forecast, forecast
from .judging import Judge
from .prompts import with_mixtures
from .student import Student
from .training import Course, State, checkpoint_path, train

_DECAY = {True: 5.0, False: 3.0}
"""Pull towards the start, from zero and from factors."""
_SMALL = 1 << 14
"""Latents of fewer numbers are learned in batches of 16."""
_MOST_WALKS = 2048


@dataclass(frozen=True)
class TeachSettings:
    """How a LoRA is taught."""

    conditioning: Conditioning
    sigmas: Tensor
    latent_image: dict[str, Any]
    negative: Conditioning | None = None
    reference_conditioning: Conditioning | None = None
    """The same prompts for the reference; ``None`` where both models have one text encoder."""
    reference_negative: Conditioning | None = None
    seed: int = 0
    steps: int = 300
    cfg: float = 1.0
    reference_cfg: float = 0.0
    rank: int = 0
    """0: the largest rank of the file."""
    layers: str = ""
    batch: int = 0
    walks: int = 0
    rounds: int = 4
    rate: float = 1.0
    """Times the learning rate that goes with the model's width."""
    teacher_steps: int = 3
    held: tuple[int, ...] = ()
    """Numbers of the prompts that nothing is learned from; empty: every fourth."""
    taught: tuple[int, ...] = ()
    """Numbers of the prompts that are learned from, more than once for more weight; empty: all others."""
    file_name: str = ""
    """Empty: nothing is written."""
    recompute: bool | None = None


@dataclass(frozen=True)
class Taught:
    """What came of it."""

    factors: list[Factors]
    judged: tuple[Held, ...]
    """The taught LoRA first, then every other way."""
    state: State
    start: str
    guidance: Guidance | None
    shares: dict[int, float]
    moved: MeasuredMap | None
    is_better: bool
    written: str
    """The file as lists name it; empty where nothing was written."""
    note: str
    seconds: float
    calls: int
    """Layers that ran with their factors."""
    batch: int
    """Examples of a step."""
    ahead: Forecast
    """What was said before the first step."""


def teach_lora(
    model: Any, reference: Any, path: str, name: str, settings: TeachSettings, node_id: str | None = None
) -> Taught:
    """Teach the LoRA at ``path``, which belongs to ``reference``, to ``model``.

    Raises:
        PatchbayError: the models do not take the same latents, a model does not take its prompts, there are too few
            prompts, or nothing of the LoRA lands on its own model.
    """
    require_same_latents(model, reference)
    with torch.inference_mode(False):
        return Teaching(model, reference, LORA_CACHE.load(path, name), settings, node_id).run()


class Teaching:
    """One run, from the start to the file."""

    def __init__(self, model: Any, reference: Any, lora: LoadedLora, settings: TeachSettings,
                 node_id: str | None) -> None:  # fmt: skip
        self._model, self._reference, self._lora, self._settings = model, reference, lora, settings
        self._latent = _empty_latent(model, settings)
        self.prompts = _prompts(settings)
        check_prompts(model, "model", self.prompts.target, self._latent)
        check_prompts(reference, "the reference", self.prompts.reference, self._latent)
        self._moved = moved_blocks(reference, model)
        self.factors, self._start = self._choose_start()
        self._course = self._plan()
        self.go_on: Callable[[], bool] = lambda: True
        """Asked before every round of the training."""
        self._costs = Costs(self._planned(), node_id)

    def _choose_start(self) -> tuple[list[Factors], str]:
        lora, start = self._lora, FROM_PLAIN
        if self._moved is not None:
            lora, start = self.remapped(), FROM_REMAPPED
        landed = factors_of(lora, self._model)
        there = factors_of(self._lora, self._reference)
        if not there:
            raise PatchbayError(
                f"{self._lora.name}: no layer of this LoRA fits the reference, so there is nothing to teach. Connect "
                "the model that the LoRA was trained on to reference; Check LoRA (Patchbay) says what fits."
            )
        rank = self._settings.rank or max(one.down.shape[0] for one in there.values())
        generator = torch.Generator().manual_seed(self._settings.seed)
        kinds = layer_kinds(there) | layer_kinds(landed)
        factors = start_factors(self._model, landed, kinds, rank, self._settings.layers, generator)
        if not factors:
            raise PatchbayError(
                "layers: no linear layer of this model has a name with one of these words, or none is of a kind that "
                f"the LoRA changes ({', '.join(sorted(kinds)[:4])}). Leave layers empty for all of them."
            )
        return factors, start if landed else FROM_ZERO

    def remapped(self) -> LoadedLora:
        """The LoRA with its blocks renumbered, where blocks moved."""
        assert self._moved is not None
        return number_lora(self._lora, MATCHES.model_keys(self._model, None), str(self._moved.block_map)).lora

    def _plan(self) -> Course:
        s = self._settings
        widths = sorted(one.down.shape[1] for one in self.factors)
        rate = s.rate * largest_rate(widths[len(widths) // 2], self._start == FROM_ZERO)
        batch = s.batch or (16 if self._latent[0].numel() < _SMALL else 1)
        stops = min(len(s.sigmas) - 1, 8)
        walks = s.walks or -(-s.steps * batch // (2 * s.rounds * stops))
        walks = max(min(len(self.prompts.taught), 8), min(walks, _MOST_WALKS))
        from_zero = self._start == FROM_ZERO
        gain, patience = (0.0, 0) if from_zero else (LEAST_GAIN, FRUITLESS_ROUNDS)
        return Course(s.steps, s.rounds, walks, batch, rate, s.seed, _DECAY[from_zero], gain, patience)

    def _rows(self) -> int:
        """About how many latents will be evaluated without a gradient."""
        stops, course = min(len(self._settings.sigmas) - 1, 8), self._course
        rows = course.scenes * stops * course.rounds
        sides = 1 if self._settings.negative is None else 2
        return rows * (2 + 3 * (self._settings.teacher_steps if stops < 8 else 1) * sides)

    def _planned(self) -> int:
        """About how many batches will be evaluated."""
        return self._course.steps + -(-self._rows() // batch_size(self._latent))

    def run(self) -> Taught:
        """Measure, train, judge, write."""
        s = self._settings
        student = Student(self._model, self.factors, s.recompute)
        student.to_device()
        ahead = forecast(student, self.prompts.target, self._latent, s.steps, self._course.batch, self._rows())
        self._costs.say(forecast_text(ahead.seconds, ahead.memory))
        sigmas = tuple(float(x) for x in s.sigmas)
        # Where nothing of the LoRA lands the two models are no relatives, and the change alone teaches little: measured
        # on Klein Nano wide, 17.7 dB with it and 26.7 with the whole output.
        lesson = Lesson(sigmas, s.cfg, self._latent, s.teacher_steps, only_full=self._start == FROM_ZERO)
        patched = patch_model(self._reference, self._lora, "")
        teacher = Teacher(self._reference, patched, student, self.prompts, lesson, lambda count: self._costs.step())
        guidance = teacher.measure(s.seed + 1, s.reference_cfg or None)
        held = teacher.examples(self.prompts.held, max(12, len(self.prompts.held)), s.seed + 2, of_student=False)
        judge = Judge(student, self.prompts, held)
        others = self._others(judge)

        def learned(step: int, error: float) -> None:
            self._costs.step(f"step {step} of {s.steps}, held-out error {error**0.5:.3f}")

        checkpoint = self.checkpoint()
        state = train(student, teacher, self.prompts, self._course, judge, checkpoint, learned, self.go_on)
        taught = judge.student()
        better = is_better(taught, others)
        written, note = self._write(student, state.step, taught, others) if better and s.file_name.strip() else ("", "")
        self._costs.finish()
        return Taught(
            student.factors, (taught, *others), state, self._start, guidance, teacher.shares, self._moved, better,
            written, note, self._costs.seconds, len(student.calls), self._course.batch, ahead,
        )  # fmt: skip

    def _others(self, judge: Judge) -> list[Held]:
        """What could be used without teaching; without a LoRA, where nothing lands."""
        found = [judge.model(PLAIN, patch_model(self._model, self._lora, ""))]
        if self._moved is not None:
            found.append(judge.model(REMAPPED, patch_model(self._model, self.remapped(), "")))
        return found

    def checkpoint(self) -> Path | None:
        """Where the run is kept after each round; ``None`` where something cannot be told from another run."""
        s = self._settings
        digests = (
            model_digest(self._model), model_digest(self._reference), conditioning_digest(self.prompts.target),
            conditioning_digest(self.prompts.reference),
        )  # fmt: skip
        if any(digest is None for digest in digests):
            return None
        folder = Path(folder_paths.get_user_directory()) / "lora_patchbay" / "teaching"
        folder.mkdir(parents=True, exist_ok=True)
        same = (digests, self._lora.key, self._course, s.sigmas.tolist(), tuple(self._latent.shape), s.cfg,
                s.reference_cfg, s.rank, s.layers, s.teacher_steps, self.prompts.held)  # fmt: skip
        return checkpoint_path(folder, same)

    def _write(self, student: Student, steps: int, taught: Held, others: Sequence[Held]) -> tuple[str, str]:
        root = Path(writable_lora_folder()).resolve()
        path, note = free_path(file_in_folder(root, self._settings.file_name, "loras"), False)
        tensors = tensors_of(student.factors)
        metadata = self._metadata(steps, taught, others)
        with TensorWriter(path, tensors, metadata_size(metadata)) as writer:
            for key, tensor in tensors.items():
                writer.add(key, tensor)
            writer.finish(metadata)
        return relative_name(path, root), note

    def _metadata(self, steps: int, taught: Held, others: Sequence[Held]) -> dict[str, str]:
        s = self._settings
        summary = MATCHES.model_keys(self._model, None).summary
        errors = ", ".join(f"{one.name} {one.error:.3f}" for one in (taught, *others))
        found = {
            "patchbay.taught_from": os.path.basename(self._lora.name),
            "patchbay.taught_from_sha256": file_hashes(Path(self._lora.key[0]), self._lora.header.data_start)["sha256"],
            "patchbay.taught_for": summary.architecture,
            "patchbay.taught_with": f"{steps} steps of {self._course.batch}, {len(self.prompts.taught)} prompts, "
            f"seed {s.seed}, CFG {s.cfg:g}, {len(s.sigmas) - 1} steps of the schedule",
            "patchbay.taught_start": self._start,
            "patchbay.held_out_error": errors,
        }
        kept = {
            key: value for key, value in self._lora.header.metadata.items()
            if key in ("modelspec.title", "modelspec.trigger_phrase", "ss_tag_frequency", "modelspec.author",
                       "modelspec.license")
        }  # fmt: skip
        return kept | found


def _empty_latent(model: Any, settings: TeachSettings) -> Tensor:
    samples = settings.latent_image["samples"][:1]
    return torch.zeros_like(comfy.sample.fix_empty_latent_channels(model, samples), dtype=torch.float32)


def _prompts(settings: TeachSettings) -> Prompts:
    """The prompts of both models, with mixtures of those that are learned from, and the negative prompt."""
    target = list(settings.conditioning)
    reference = list(settings.reference_conditioning or target)
    if len(target) < 2 or len(target) != len(reference):
        raise PatchbayError(
            f"conditioning: expected two or more prompts, and as many for the reference; got {len(target)} and "
            f"{len(reference)}. Join prompts with Conditioning (Combine); eight or more of the kind that you use "
            "give a reliable answer."
        )
    held = settings.held or held_out(len(target))
    own = settings.taught or tuple(number for number in range(len(target)) if number not in held)
    mixed, target, reference = with_mixtures(own, target, reference, settings.seed)
    negative = None
    if settings.negative:
        negative = len(target)
        target.append(settings.negative[0])
        reference.append((settings.reference_negative or settings.negative)[0])
    return Prompts(target, reference, (*own, *mixed), tuple(held), negative, mixed)
