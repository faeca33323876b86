"""Profiles of two models, or of a LoRA on two models, and what they say about each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..core.errors import PatchbayError
from ..core.report import Report
from ..core.shift_profile import Profile
from ..core.shift_report import ShiftTable, build_rows, shift_report
from .patching import MATCHES
from .probes import Conditioning, Probes, plan_probes
from .profiling import PROFILES, take_profile
from .run_costs import Costs


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


def measure_shift(
    model_a: Any,
    model_b: Any,
    settings: ProbeSettings,
    reference: tuple[Any, Any] | None = None,
    use_cache: bool = True,
    node_id: str | None = None,
) -> Measured:
    """Compare ``model_b`` with ``model_a`` on the same noisy latents.

    Args:
        reference: A LoRA's own model without and with it; then ``model_a`` and ``model_b`` are another model without
            and with the same LoRA, and the two changes are compared.

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
    count = len(probes) * (4 if reference else 2) + len(first)
    taker = _Taker(Costs(count, node_id), use_cache)
    a = taker.take(model_a, probes)
    probes, first = (replace(item, latents=dict(a.latents)) for item in (probes, first))
    again = taker.take(model_a, first, "again")
    b = taker.take(model_b, probes)
    there = (taker.take(reference[0], probes), taker.take(reference[1], probes)) if reference else None
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
    )
    summary = MATCHES.model_keys(model_b, None).summary
    title = f"LoRA on another {summary.architecture}" if reference else f"Two models: {summary.architecture}"
    notes = _notes(probes, settings, a, b)
    return Measured(shift_report(table, title, ("model_a", "model_b"), summary, notes), table)


class _Taker:
    """Takes profiles or finds them in the cache."""

    def __init__(self, costs: Costs, use_cache: bool) -> None:
        self.costs, self._use_cache, self.from_cache = costs, use_cache, 0

    def take(self, model: Any, probes: Probes, run: str = "") -> Profile:
        known = PROFILES.get(model, probes, run) if self._use_cache else None
        if known is not None:
            self.from_cache += 1
            self.costs.add(-len(probes))
            return known
        profile = take_profile(model, probes, self.costs.step)
        if self._use_cache:
            PROFILES.put(model, probes, profile, run)
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
        notes.append("With one seed there is no other seed to hold the shift against; set seeds to 2 or more.")
    missing = sorted({name.partition("|")[0] for name in a.records} - {name.partition("|")[0] for name in b.records})
    if missing:
        notes.append(f"model_b has no {', '.join(missing[:8])}: not compared.")
    if not probes.latent.any():
        notes.append("The latents are those of model_a's own trajectory on these sigmas, from noise.")
    return notes
