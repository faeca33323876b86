"""Fits strengths so that a LoRA does on this model what it did on its own, and checks that on held-out probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core.report.report import Report
from ...core.transfer.fit_report import (
    ACTIVATION_RATIO,
    BEST_SINGLE,
    FITTED,
    INVERSE_NORM,
    PLAIN,
    REFIT,
    Candidate,
    FitTable,
    choose,
    fit_report,
    rounded,
)
from ...core.transfer.fit_rules import activation_ratio, by_group, guard, inverse_norm
from ...core.transfer.guidance import Guidance, needs_negative
from ...core.transfer.least_squares import choose_ridge, normal_equations, parabola_minimum, solve
from ..apply.apply import summarise_lora
from ..apply.lora_cache import LORA_CACHE, LoadedLora
from ..apply.plan import MATCHES
from ..measure.run_costs import Costs
from .feature_shift import ProbeSettings, require_same_latents
from .fit_errors import Judge, around_one, join, level_weights, scene_errors
from .group_figures import added_shifts, group_norms
from .moved_blocks import moved_blocks, moved_sentence
from .probes import Conditioning, Probes, Scene, evaluations, plan_probes, walk_latents
from .profiling import sketching, take_profile
from .refit import Refitted, refit_lora, refit_passes
from .strength_lab import (
    Outputs,
    Reference,
    StrengthLab,
    difference,
    find_groups,
    patch_model,
    run_reference,
    scenes_of,
    strengths_text,
)

STEP = 0.25
"""Strength is changed by so much to find the derivative of the output."""
SINGLE_STRENGTHS = (0.4, 0.7, 1.0, 1.3, 1.6)


@dataclass(frozen=True)
class FitSettings:
    """How strengths are fitted."""

    probes: ProbeSettings
    grouping: str
    low: float
    high: float
    ridge: float
    """0: chosen by leaving training prompts out."""
    reference_cfg: float
    """CFG of the reference; 0 measures what ``model`` has built in."""
    negative: Conditioning | None
    rounds: int = 1
    compare_rules: bool = True
    refit_name: str = ""


@dataclass(frozen=True)
class Fitted:
    """The strengths in the text form, and how they were found."""

    blocks: str
    report: Report
    table: FitTable
    refitted: Refitted | None = None


@sketching()
def fit_strengths(
    model: Any, reference: Any, path: str, name: str, settings: FitSettings, node_id: str | None = None
) -> Fitted:
    """Fit the LoRA at ``path`` to ``model``; ``reference`` is the model that it was trained on, or ``None``.

    Raises:
        PatchbayError: nothing of the file lands in the model, or the models do not take the same latents.
    """
    lora = LORA_CACHE.load(path, name)
    groups = find_groups(lora, model, settings.grouping)
    s = settings.probes
    probes = plan_probes(model, s.conditioning, s.latent_image, s.sigmas, s.seed, s.seeds, s.levels)
    if reference is None:
        return _Fit(model, None, lora, groups, settings, probes, node_id).guard()
    require_same_latents(model, reference)
    return _Fit(model, reference, lora, groups, settings, probes, node_id).run()


class _Fit:
    """One fit, from planning the costs to the report."""

    def __init__(
        self, model: Any, reference: Any, lora: LoadedLora, groups: Any, settings: FitSettings, probes: Probes,
        node_id: str | None,
    ) -> None:  # fmt: skip
        self._model, self._reference, self._lora, self._settings = model, reference, lora, settings
        self._selectors = [group.selector for group in groups]
        self._by_prompt = len(settings.probes.conditioning) > 1
        self._negative = settings.negative if needs_negative(settings.reference_cfg) else None
        self._guidance: Guidance | None = None
        self._training = probes.only(self._is_training)
        self._held = probes.only(lambda scene: not self._is_training(scene))
        self._costs = Costs(self._planned(probes, len(groups)), node_id)
        self._lab = StrengthLab(model, lora, groups, self._costs.step)

    def _is_training(self, scene: Scene) -> bool:
        """Every other prompt is held out; with one prompt every other seed, and with one seed nothing."""
        if self._by_prompt:
            return scene.prompt % 2 == 0
        return scene.seed % 2 == 0 or self._settings.probes.seeds == 1

    def _planned(self, probes: Probes, groups: int) -> int:
        every, training = len(probes), evaluations([self._training])
        held = len(probes) - training
        if self._reference is None:
            return 2 * every
        guided = 1 if self._negative is None else 2
        rules = 2 if self._settings.compare_rules else 0
        rounds = self._settings.rounds
        fitting = training * (groups * rounds + rounds - 1 + len(SINGLE_STRENGTHS) - 1 + 2 * rules)
        refit = training * refit_passes(self._model, self._reference, self._lora) + held if self._refits else 0
        return (3 + 2 * guided) * every + fitting + held * (2 + rules) + len(probes.sigmas) + refit

    @property
    def _refits(self) -> bool:
        return bool(self._settings.refit_name.strip())



    def run(self) -> Fitted:
        """Fit, compare, choose."""
        training, held = self._walk(self._training), self._walk(self._held)
        plain, at_one = self._lab.plain(training), self._lab.at(training)
        there, there_held = self._run_reference(training), self._run_reference(held)
        self._guidance = there.guidance(plain, self._settings.reference_cfg or None)
        wanted, wanted_held = there.change(self._guidance), there_held.change(self._guidance)
        strengths, ridge, predicted = self._solve(training, wanted, plain, at_one)
        candidates = {PLAIN: self._lab.uniform(1.0), FITTED: strengths}
        single, errors = self._best_single(training, wanted, plain, at_one)
        candidates[BEST_SINGLE] = self._lab.uniform(single)
        if self._settings.compare_rules:
            candidates |= self._rules(training)
        judge = Judge(held, wanted_held, self._lab.plain(held))
        judged = [judge.of(PLAIN, candidates[PLAIN], self._lab.at(held), errors.get(1.0))]
        floor = judge.floor(self._lab.at(held.only(lambda scene: scene == held.scenes[0])))
        for name in (BEST_SINGLE, INVERSE_NORM, ACTIVATION_RATIO, FITTED):
            if name in candidates:
                training_error = {BEST_SINGLE: min(errors.values()), FITTED: predicted}.get(name)
                judged.append(judge.of(name, candidates[name], self._lab.at(held, candidates[name]), training_error))
        refitted = self._refit(training, held, judge, judged, floor)
        chosen = choose(judged, floor, (BEST_SINGLE, FITTED))
        table = self._table(tuple(judged), chosen, ridge, floor, refitted)
        blocks = "all=1" if chosen == PLAIN else strengths_text(candidates[chosen])
        if chosen == BEST_SINGLE:
            blocks = f"all={round(single, 3):g}"
        return Fitted(blocks, self._report(table, blocks), table, refitted)

    def _walk(self, probes: Probes) -> Probes:
        return walk_latents(self._model, probes, step_done=self._costs.step)

    def _run_reference(self, probes: Probes) -> Reference:
        return run_reference(self._reference, self._lora, probes, self._negative, self._costs.step)

    def _solve(
        self, training: Probes, wanted: Outputs, plain: Outputs, at_one: Outputs
    ) -> tuple[dict[str, float], float, float]:
        """Strengths, the ridge used, and the predicted training error."""
        weights = level_weights(wanted)
        strengths, ridge, error = self._lab.uniform(1.0), self._settings.ridge, 0.0
        here = at_one
        for number in range(self._settings.rounds):
            if number:
                here = self._lab.at(training, strengths)
            columns = self._jacobian(training, strengths, here)
            missing = difference(wanted, difference(here, plain))
            normals, folds = [], []
            for scene, probes in scenes_of(wanted).items():
                rest, target = join(missing, probes, weights), join(wanted, probes, weights)
                parts = [join(column, probes, weights) for column in columns]
                normals.append(around_one(normal_equations(parts, rest, target), strengths, parts))
                folds.append(scene[0] if self._by_prompt else scene[1])
            low, high = self._settings.low, self._settings.high
            ridge = self._settings.ridge or choose_ridge(normals, folds, low, high)
            step = solve(normals, ridge, low, high)
            error = sum(normal.error(step) ** 0.5 for normal in normals) / len(normals)
            strengths = rounded({name: 1 + float(d) for name, d in zip(self._selectors, step, strict=True)})
        return strengths, ridge, error

    def _jacobian(
        self, training: Probes, strengths: Mapping[str, float], here: Outputs, by: float = STEP
    ) -> list[Outputs]:
        """The derivative of the output by each group's strength, as a difference quotient over ``by``."""
        columns: list[Outputs] = []
        for selector in self._selectors:
            moved = self._lab.at(training, {**strengths, selector: strengths[selector] + by})
            columns.append({probe: (value - here[probe]) / by for probe, value in moved.items()})
        return columns

    def _best_single(
        self, training: Probes, wanted: Outputs, plain: Outputs, at_one: Outputs
    ) -> tuple[float, dict[float, float]]:
        """The best strength for all groups, and the training error at each one that was tried."""
        errors: dict[float, float] = {}
        for value in SINGLE_STRENGTHS:
            seen = at_one if value == 1.0 else self._lab.at(training, self._lab.uniform(value))
            found = scene_errors(difference(seen, plain), wanted)
            errors[value] = sum(found) / len(found)
        squares = [(value, error**2) for value, error in errors.items()]
        return round(parabola_minimum(squares, self._settings.low, self._settings.high), 3), errors

    def _rules(self, training: Probes) -> dict[str, dict[str, float]]:
        """The rules used elsewhere."""
        places = [
            added_shifts(*(take_profile(each, training, self._costs.step) for each in pair))
            for pair in (
                (self._reference, patch_model(self._reference, self._lora, "")),
                (self._model, self._lab.patched()),
            )
        ]
        there, here = (by_group(place, self._selectors) for place in places)
        ratio = activation_ratio(there, here, self._settings.low, self._settings.high)
        return {
            INVERSE_NORM: rounded(inverse_norm(group_norms(self._lora, self._model, self._lab))),
            ACTIVATION_RATIO: rounded({name: ratio.get(name, 1.0) for name in self._selectors}),
        }

    def _refit(
        self, training: Probes, held: Probes, judge: Judge, judged: list[Candidate], floor: float
    ) -> Refitted | None:
        """Refit the LoRA's own factors, judge it like the others, and keep it only where it certainly helps."""
        if not self._refits:
            return None
        refitted = refit_lora(self._model, self._reference, self._lora, training, self._costs)
        outputs = refitted.outputs(self._model, held, self._costs.step)
        candidate = judge.of(REFIT, {}, outputs, None)
        judged.append(candidate)
        if choose([judged[0], candidate], floor, (REFIT,)) == REFIT:
            return replace(refitted, saved_as=refitted.save(self._settings.refit_name))
        return refitted



    def guard(self) -> Fitted:
        """Limit the groups that shift the features far more than the others. Nothing is fitted."""
        every = replace(self._training, scenes=(*self._training.scenes, *self._held.scenes))
        before = take_profile(self._model, every, self._costs.step)
        every = replace(every, latents=dict(before.latents))
        added = added_shifts(before, take_profile(self._lab.patched(), every, self._costs.step))
        guarded = guard(by_group(added, self._selectors))
        table = replace(
            self._table((), PLAIN, 0.0, 0.0, None), guard=True,
            guarded={name: round(guarded.get(name, 1.0), 3) for name in self._selectors},
        )  # fmt: skip
        lowered = {name: value for name, value in table.guarded.items() if value < 1}
        blocks = ", ".join(["all=1", strengths_text(lowered)]) if lowered else "all=1"
        return Fitted(blocks, self._report(table, blocks), table)



    def _table(
        self, judged: tuple[Candidate, ...], chosen: str, ridge: float, floor: float, refitted: Refitted | None
    ) -> FitTable:
        self._costs.finish()
        training, held = ({scene.prompt for scene in probes.scenes} for probes in (self._training, self._held))
        return FitTable(
            judged, chosen, tuple(self._selectors), ridge, floor, len(training), len(held - training),
            self._settings.probes.seeds, self._training.sigmas, self._costs.done, self._costs.seconds,
            saved_as=refitted.saved_as if refitted else "", guidance=self._guidance,
            reference_cfg=self._settings.reference_cfg,
        )  # fmt: skip

    def _report(self, table: FitTable, blocks: str) -> Report:
        keys = MATCHES.model_keys(self._model, None)
        title = f"{self._lora.name} on {keys.summary.architecture}"
        notes = list(_refit_notes(table))
        moved = None if self._reference is None else moved_blocks(self._reference, self._model)
        notes += [moved_sentence(moved)] if moved is not None else []
        return fit_report(table, blocks, title, keys.summary, summarise_lora(self._lora), notes)


def _refit_notes(table: FitTable) -> list[str]:
    candidate = table.candidate(REFIT)
    if candidate is None or table.saved_as:
        return []
    return ["The refit LoRA was not saved: its held-out error is not a certain improvement over plain 1.0."]
