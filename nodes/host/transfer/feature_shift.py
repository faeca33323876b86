"""Profiles of two models, or of a LoRA on two models, and what they say about each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ...core.errors import PatchbayError
from ...core.report.report import Report
from ...core.transfer.guidance import Guidance, guidance_note, guided_record, measure_guidance, needs_negative
from ...core.transfer.profile import OUTPUT, Profile
from ...core.transfer.shift_report import ShiftTable, build_rows, shift_report
from ..apply.plan import MATCHES
from ..measure.run_costs import Costs
from .moved_blocks import moved_blocks, moved_sentence
from .probes import Conditioning, Probes, plan_probes
from .profiling import PROFILES, sketching, take_profile


@dataclass(frozen=True)
class ProbeSettings:
    """What the models are evaluated on."""

    conditioning: Conditioning
    latent_image: dict[str, Any]
    sigmas: Tensor
    seed: int
    seeds: int
    levels: int


@dataclass(frozen=True)
class Measured:
    """The report and the table behind it."""

    report: Report
    table: ShiftTable


@sketching()
def measure_shift(
    model_a: Any,
    model_b: Any,
    settings: ProbeSettings,
    reference: tuple[Any, Any] | None = None,
    use_cache: bool = True,
    node_id: str | None = None,
    reference_cfg: float = 0.0,
    negative: Conditioning | None = None,
) -> Measured:
    """Compare ``model_b`` with ``model_a`` on the same noisy latents.

    Args:
        reference: A LoRA's own model without and with it; then ``model_a`` and ``model_b`` are another model without
            and with the same LoRA, and the two changes are compared.
        reference_cfg: The guidance that the reference's output is compared at; 0 has it measured.
        negative: The negative prompt for it; without one the reference is compared without guidance.

    Raises:
        PatchbayError: the models do not take the same latents, or hide their blocks.
    """
    probes = plan_probes(
        model_a, settings.conditioning, settings.latent_image, settings.sigmas, settings.seed, settings.seeds,
        settings.levels,
    )  # fmt: skip
    for model in (model_b, *(reference or ())):
        require_same_latents(model_a, model)
    first = probes.only(lambda scene: scene == probes.scenes[0])
    if not needs_negative(reference_cfg) or reference is None:
        negative = None
    count = len(probes) * ((4 if reference else 2) + (2 if negative else 0)) + len(first)
    taker = _Taker(Costs(count, node_id), use_cache)
    a = taker.take(model_a, probes)
    probes, first = (replace(item, latents=dict(a.latents)) for item in (probes, first))
    again = taker.take(model_a, first, "again")
    b = taker.take(model_b, probes)
    there, guidance = taker.reference(reference, probes, negative, a, reference_cfg)
    taker.costs.finish()
    table = ShiftTable(
        rows=build_rows(a, b, again, there),
        prompts=len(settings.conditioning),
        seeds=settings.seeds,
        sigmas=probes.sigmas,
        evaluations=taker.costs.done,
        seconds=taker.costs.seconds,
        from_cache=taker.from_cache,
        transfer=reference is not None,
        guidance=guidance,
    )
    summary = MATCHES.model_keys(model_b, None).summary
    title = f"LoRA on another {summary.architecture}" if reference else f"Two models: {summary.architecture}"
    notes = _notes(probes, settings, a, b)
    if reference:
        notes.append(guidance_note(guidance, reference_cfg or None))
        moved = moved_blocks(reference[0], model_a)
        notes += [moved_sentence(moved)] if moved is not None else []
    return Measured(shift_report(table, title, ("model_a", "model_b"), summary, notes), table)


class _Taker:
    """Takes profiles or finds them in the cache."""

    def __init__(self, costs: Costs, use_cache: bool) -> None:
        self.costs, self._use_cache, self.from_cache = costs, use_cache, 0

    def take(self, model: Any, probes: Probes, run: str = "", inside: bool = True) -> Profile:
        run = run if inside else f"{run} output"
        known = PROFILES.get(model, probes, run) if self._use_cache else None
        if known is not None:
            self.from_cache += 1
            self.costs.add(-len(probes))
            return known
        profile = take_profile(model, probes, self.costs.step, inside)
        if self._use_cache:
            PROFILES.put(model, probes, profile, run)
        return profile

    def output(self, model: Any, probes: Probes, prompt: Conditioning) -> Profile:
        """The same of the output alone, for another prompt."""
        scenes = tuple(replace(scene, conditioning=prompt) for scene in probes.scenes)
        return self.take(model, replace(probes, scenes=scenes), inside=False)

    def reference(
        self,
        models: tuple[Any, Any] | None,
        probes: Probes,
        negative: Conditioning | None,
        a: Profile,
        cfg: float,
    ) -> tuple[tuple[Profile, Profile] | None, Guidance | None]:
        """The profiles of a LoRA's own model without and with it, with the guidance that ``a`` has absorbed."""
        if models is None:
            return None, None
        there = (self.take(models[0], probes), self.take(models[1], probes))
        if negative is None:
            return there, None
        empty = (self.output(models[0], probes, negative), self.output(models[1], probes, negative))
        guidance = measure_guidance(
            a.records[OUTPUT].sketches, there[0].records[OUTPUT].sketches, empty[0].records[OUTPUT].sketches,
            cfg or None,
        )  # fmt: skip
        return (_guided(there[0], empty[0], guidance), _guided(there[1], empty[1], guidance)), guidance


def _guided(positive: Profile, negative: Profile, guidance: Guidance) -> Profile:
    """The profile with the output that guidance gives; what lies inside stays that of the prompt."""
    profile = Profile()
    profile.records = dict(positive.records)
    profile.records[OUTPUT] = guided_record(positive.records[OUTPUT], negative.records[OUTPUT], guidance)
    return profile


def require_same_latents(a: Any, b: Any) -> None:
    """Refuse models of different families.

    Raises:
        PatchbayError: they do not take the same latents.
    """
    formats = [type(model.get_model_object("latent_format")).__name__ for model in (a, b)]
    classes = [type(model.model).__name__ for model in (a, b)]
    if formats[0] != formats[1]:
        raise PatchbayError(
            f"The models take different latents ({classes[0]}: {formats[0]}, {classes[1]}: {formats[1]}), so they "
            "cannot be evaluated on the same ones. Connect models of one family."
        )


def _notes(probes: Probes, settings: ProbeSettings, a: Profile, b: Profile) -> list[str]:
    notes: list[str] = []
    if settings.seeds < 2:
        notes.append("With one seed there is no other seed to compare the shift with; set seeds to 2 or more.")
    missing = sorted({name.partition("|")[0] for name in a.records} - {name.partition("|")[0] for name in b.records})
    if missing:
        notes.append(f"model_b has no {', '.join(missing[:8])}: not compared.")
    if not probes.latent.any():
        notes.append("The latents are those of model_a's own trajectory on these sigmas, from noise.")
    return notes
