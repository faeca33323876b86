"""Makes what the student learns from: noisy latents of walks, and what the teacher would do there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ...core.transfer.guidance import Guidance, measure_guidance
from ...core.transfer.teaching import FEW_STEPS, fractions, full_shares, own_picture_share, walks
from ..transfer.probes import Conditioning
from .batches import Evaluator, batch_size, inside
from .prompts import Mixture
from .student import Student


@dataclass(frozen=True)
class Prompts:
    """The same prompts for both models; the last may be the negative one."""

    target: Conditioning
    reference: Conditioning
    taught: tuple[int, ...]
    """Numbers of those that are learned from."""
    held: tuple[int, ...]
    """Numbers of those that are not."""
    negative: int | None = None
    mixed: Mapping[int, Mixture] = field(default_factory=dict[int, Mixture])
    """Those that are mixtures of others."""


@dataclass(frozen=True)
class Lesson:
    """How examples are made."""

    sigmas: tuple[float, ...]
    """The schedule that the target is used with, with its final 0."""
    cfg: float
    """The CFG that the target is used with."""
    latent: Tensor
    """[1, ...]; its shape counts."""
    teacher_steps: int = 3
    """Steps of the reference inside one step of a few-step target."""
    guidance: tuple[float, ...] = ()
    """CFG of the reference by level."""
    only_full: bool = False
    """Teach the reference's whole output at every level: for a model that is no relative of the reference."""
    own: dict[int, float] = field(default_factory=dict)
    """Distance of the two models without the LoRA, on the target's own walk, by level."""
    spread: dict[int, float] = field(default_factory=dict)
    """Mean squared distance between the target's outputs for two prompts on the same latents, by level."""

    @property
    def levels(self) -> int:
        return len(self.sigmas) - 1

    @property
    def is_few(self) -> bool:
        """Whether each step is taught as a whole."""
        return self.levels <= FEW_STEPS


@dataclass(frozen=True)
class Examples:
    """Rows of what was made; all on the CPU."""

    x: Tensor
    """[rows, ...] float32."""
    want: Tensor
    """The derivative that the student shall have there."""
    level: Tensor
    """[rows] of the schedule."""
    sigma: Tensor
    """[rows]"""
    prompt: Tensor
    """[rows]"""
    scene: Tensor
    """[rows]; rows of one walk share it."""

    def __len__(self) -> int:
        return len(self.level)


Stepped = Callable[[int], None]
"""Called with a number of evaluations that are done."""


class Teacher:
    """The reference model with and without its LoRA, and the student."""

    def __init__(self, reference: Any, patched: Any, student: Student, prompts: Prompts, lesson: Lesson,
                 stepped: Stepped = lambda count: None) -> None:  # fmt: skip
        self._reference, self._patched, self._student = reference, patched, student
        self._prompts, self.lesson, self._stepped = prompts, lesson, stepped
        self.shares: dict[int, float] = {}
        """Mean share of the full teacher by level, of the last examples."""
        self._level_shares: dict[int, float] = {}

    def measure(self, seed: int, given: float | None) -> Guidance | None:
        """Measure the guidance that the target has built in, and how far apart the models are without the LoRA."""
        count = min(8, 2 * len(self._prompts.taught))
        rows = self._walk_rows(self._prompts.taught, count, seed)
        with self._student.plain():
            rows = self._student_walk(rows)
            plain = self._student_says(rows)
            spread = self._spread(rows, plain)
        reference, negative = self._both(rows)
        found: Guidance | None = None
        if negative is not None:
            ids = [(int(p), int(s), int(lv)) for p, s, lv in zip(rows.prompt, rows.scene, rows.level, strict=True)]
            sides = (dict(zip(ids, side, strict=True)) for side in (plain, reference, negative))
            found = measure_guidance(*sides, given=given)
            at = dict(zip(sorted({level for _, _, level in ids}), found.used, strict=True))
            self.lesson = replace(
                self.lesson, guidance=tuple(self._level_cfg(at, i) for i in range(self.lesson.levels))
            )
        distances = self._distances(rows, plain, self._reference_says(rows))
        self.lesson = replace(self.lesson, own=distances, spread=spread)
        return found

    def _spread(self, rows: Examples, plain: Tensor) -> dict[int, float]:
        """How far the target's outputs are from those for another prompt that it is taught with."""
        others = tuple(dict.fromkeys(self._prompts.taught))
        after = {one: others[(number + len(others) // 2) % len(others)] for number, one in enumerate(others)}
        swapped = torch.tensor([after.get(int(prompt), int(prompt)) for prompt in rows.prompt])
        apart = square_sizes(plain - self._student_says(replace(rows, prompt=swapped)))
        moved = swapped != rows.prompt
        found: dict[int, float] = {}
        for level in sorted(set(rows.level[moved].tolist())):
            found[level] = float(apart[moved & (rows.level == level)].mean())
        return found

    def _level_cfg(self, at: dict[int, float], level: int) -> float:
        """A step that is taught as a whole has the guidance of the first one: what is left at a later one is measured
        at a point, where a few-step model does not stop."""
        if self.lesson.is_few:
            return at[min(at)]
        return at[min(at, key=lambda known: abs(known - level))]

    def examples(self, which: Sequence[int], scenes: int, seed: int, of_student: bool) -> Examples:
        """Walk, and ask the teacher at every stop.

        Args:
            which: Prompts to draw from.
            of_student: Along the student's walk with its factors, else along the teacher's.
        """
        rows = self._walk_rows(which, scenes, seed)
        rows = self._student_walk(rows) if of_student else self._teacher_walk(rows)
        full = self._says(self._patched, rows)
        own, without = self._unpatched(rows)
        if not self._level_shares:
            led = self._distances(rows, own, without)
            only_full = self.lesson.only_full
            self._level_shares = dict.fromkeys(led, 1.0) if only_full else full_shares(self.lesson.own, led)
        shares = self._row_shares(rows, own - without)
        self.shares = {level: float(shares[rows.level == level].mean()) for level in sorted(set(rows.level.tolist()))}
        return replace(rows, want=full + (1 - _over(shares, full)) * (own - without))

    def compared(self, which: Sequence[int], scenes: int, seed: int) -> tuple[Examples, Tensor, Tensor]:
        """Walks of the teacher, and what the student and the reference say there without the LoRA."""
        rows = self._teacher_walk(self._walk_rows(which, scenes, seed))
        return rows, *self._unpatched(rows)

    def _unpatched(self, rows: Examples) -> tuple[Tensor, Tensor]:
        without = self._reference_says(rows)
        with self._student.plain():
            return self._student_says(rows), without

    def _row_shares(self, rows: Examples, apart: Tensor) -> Tensor:
        """[rows] shares of the full teacher: that of the level, or more where the two models draw two pictures.

        A mixture is taught as the prompts that it is mixed of: no model was trained on it, so that two models come
        apart there even where both know its parts. Nor is the negative prompt a name to be known.
        """
        at = list(zip(rows.prompt.tolist(), rows.level.tolist(), strict=True))
        spread = self.lesson.spread
        distances = zip(at, square_sizes(apart).tolist(), strict=True)
        own = [own_picture_share(distance, spread.get(level, 0.0)) for (_, level), distance in distances]
        by_prompt: dict[tuple[int, int], list[float]] = {}
        for place, share in zip(at, own, strict=True):
            by_prompt.setdefault(place, []).append(share)

        def of_prompt(prompt: int, level: int) -> float:
            found = by_prompt.get((prompt, level), (0.0,))
            return sum(found) / len(found)

        for row, (prompt, level) in enumerate(at):
            mixture = self._prompts.mixed.get(prompt)
            if prompt == self._prompts.negative:
                own[row] = 0.0
            elif mixture is not None:
                one, two = of_prompt(mixture.one, level), of_prompt(mixture.two, level)
                own[row] = mixture.share * one + (1 - mixture.share) * two
        return torch.tensor([max(self._level_shares.get(lv, 1.0), s) for (_, lv), s in zip(at, own, strict=True)])

    def _walk_rows(self, which: Sequence[int], scenes: int, seed: int) -> Examples:
        """A row for every stop of every walk; the latents are pure noise until it is walked."""
        generator = torch.Generator().manual_seed(seed)
        plans = walks(self.lesson.levels)
        picked = torch.randint(len(which), (scenes,), generator=generator).tolist()
        noise = torch.randn(scenes, *self.lesson.latent.shape[1:], generator=generator)
        level, prompt, scene = [], [], []
        for number in range(scenes):
            stops = plans[number % len(plans)]
            chosen = which[number % len(which)] if scenes <= len(which) else which[picked[number]]
            level += stops
            prompt += [chosen] * len(stops)
            scene += [number] * len(stops)
        x = noise[torch.tensor(scene)]
        levels = torch.tensor(level)
        sigma = torch.tensor(self.lesson.sigmas)[levels]
        return Examples(x, torch.zeros(0), levels, sigma, torch.tensor(prompt), torch.tensor(scene))

    def _negated(self, rows: Examples) -> Examples:
        """The same rows with the negative prompt in place of every sixth, where the target is used with CFG."""
        negative = self._prompts.negative
        if negative is None or self.lesson.cfg <= 1:
            return rows
        prompt = rows.prompt.clone()
        prompt[::6] = negative
        return replace(rows, prompt=prompt)

    def _student_walk(self, rows: Examples) -> Examples:
        lesson = self.lesson

        def walk(evaluator: Evaluator) -> Examples:
            return self._walked(rows, lambda x, level, after, prompts: self._guided(
                evaluator, x, self._sigma(level, x), prompts, torch.full((len(x),), lesson.cfg)
            ))  # fmt: skip

        return self._negated(self._student.inside(self._prompts.target, lesson.latent, walk))

    def _teacher_walk(self, rows: Examples) -> Examples:
        def walk(evaluator: Evaluator) -> Examples:
            def step(x: Tensor, level: Tensor, after: Tensor, prompts: list[int]) -> Tensor:
                return self._segment(evaluator, x, level, prompts, max(1.0, self.lesson.cfg))

            return self._walked(rows, step)

        return self._negated(inside(self._patched, self._prompts.reference, self.lesson.latent, walk))

    def _walked(self, rows: Examples, step: Callable[..., Tensor]) -> Examples:
        """Euler steps along every walk; all walks with the same stops go together."""
        x = rows.x.clone()
        by_plan: dict[tuple[int, ...], list[int]] = {}
        for scene in dict.fromkeys(rows.scene.tolist()):
            stops = (rows.scene == scene).nonzero().flatten().tolist()
            by_plan.setdefault(tuple(rows.level[stops].tolist()), []).append(stops[0])
        for stops, firsts in by_plan.items():
            size = batch_size(rows.x)
            for begin in range(0, len(firsts), size):
                part = torch.tensor(firsts[begin : begin + size])
                prompts = rows.prompt[part].tolist()
                for number, level in enumerate(stops[:-1]):
                    now = torch.full((len(part),), level)
                    derivative = step(x[part + number], now, now, prompts)
                    change = self.lesson.sigmas[stops[number + 1]] - self.lesson.sigmas[level]
                    x[part + number + 1] = x[part + number] + change * derivative
        return replace(rows, x=x)

    def _sigma(self, level: Tensor, like: Tensor) -> Tensor:
        return torch.tensor(self.lesson.sigmas)[level].to(like)

    def _both(self, rows: Examples) -> tuple[Tensor, Tensor | None]:
        """The reference without the LoRA, for the prompts and for the negative one, at the stops themselves."""
        negative = self._prompts.negative

        def work(evaluator: Evaluator) -> tuple[Tensor, Tensor | None]:
            sigma = rows.sigma
            positive = self._evaluate(evaluator, rows.x, sigma, rows.prompt.tolist())
            if negative is None:
                return positive, None
            return positive, self._evaluate(evaluator, rows.x, sigma, [negative] * len(rows))

        return inside(self._reference, self._prompts.reference, self.lesson.latent, work)

    def _reference_says(self, rows: Examples) -> Tensor:
        return self._says(self._reference, rows)

    def _says(self, model: Any, rows: Examples) -> Tensor:
        """What a teacher does from each row on."""
        return inside(
            model, self._prompts.reference, self.lesson.latent,
            lambda evaluator: self._segment(evaluator, rows.x, rows.level, rows.prompt.tolist()),
        )  # fmt: skip

    def _student_says(self, rows: Examples) -> Tensor:
        return self._student.inside(
            self._prompts.target, self.lesson.latent,
            lambda evaluator: self._evaluate(
                evaluator, rows.x, rows.sigma, rows.prompt.tolist()
            ),
        )  # fmt: skip

    def _segment(
        self, evaluator: Evaluator, x: Tensor, level: Tensor, prompts: list[int], least: float = 1.0
    ) -> Tensor:
        """The mean derivative over the step that begins at each row's level; for many-step schedules that of its
        beginning."""
        lesson = self.lesson
        shares = fractions(lesson.teacher_steps if lesson.is_few else 1)
        sigmas = torch.tensor(lesson.sigmas)
        begin, end = sigmas[level], sigmas[level + 1]
        cfg = torch.tensor(lesson.guidance)[level] if lesson.guidance else torch.ones(len(level))
        cfg = cfg.clamp_min(least)
        at, total = x, torch.zeros_like(x)
        for share in shares:
            sigma = begin + share * (end - begin)
            derivative = self._guided(evaluator, at, sigma, prompts, cfg)
            at = at + _over((end - begin) / len(shares), at) * derivative
            total = total + derivative / len(shares)
        return total

    def _guided(self, evaluator: Evaluator, x: Tensor, sigma: Tensor, prompts: list[int], cfg: Tensor) -> Tensor:
        positive = self._evaluate(evaluator, x, sigma, prompts)
        negative = self._prompts.negative
        if negative is None or bool((cfg <= 1).all()):
            return positive
        without = self._evaluate(evaluator, x, sigma, [negative] * len(prompts))
        return without + _over(cfg, x) * (positive - without)

    def _evaluate(self, evaluator: Evaluator, x: Tensor, sigma: Tensor, prompts: list[int]) -> Tensor:
        return evaluate_rows(evaluator, x, sigma, prompts, self._student.patcher.load_device, self._stepped)

    def _distances(self, rows: Examples, own: Tensor, other: Tensor) -> dict[int, float]:
        """``|own - other| / |own|`` by level."""
        found: dict[int, float] = {}
        for level in sorted(set(rows.level.tolist())):
            mine, theirs = own[rows.level == level].double(), other[rows.level == level].double()
            found[level] = float((mine - theirs).norm() / mine.norm().clamp_min(1e-12))
        return found


def evaluate_rows(
    evaluator: Evaluator, x: Tensor, sigma: Tensor, prompts: list[int], device: torch.device,
    stepped: Stepped = lambda count: None,
) -> Tensor:  # fmt: skip
    """The derivative at every row, float32 on the CPU, a batch at a time."""
    parts, size = [], batch_size(x)
    for begin in range(0, len(x), size):
        rows = slice(begin, begin + size)
        found = evaluator.velocities(x[rows].to(device), sigma[rows].to(device), prompts[rows])
        parts.append(found.float().cpu())
        stepped(len(found))
    return torch.cat(parts)


def square_sizes(values: Tensor) -> Tensor:
    """[rows] squared sizes of [rows, ...]."""
    return values.double().square().flatten(1).sum(1)


def _over(values: Tensor, like: Tensor) -> Tensor:
    """[rows] as [rows, 1, 1, 1]."""
    return values.to(like).reshape(-1, *(1,) * (like.dim() - 1))
