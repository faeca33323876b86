"""What a fit of strengths found: candidates, their errors on held-out probes, the choice, and the words for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..report.report import Level, LoraSummary, ModelSummary, Report
from .guidance import Guidance, guidance_note
from .least_squares import Interval

PLAIN, BEST_SINGLE, FITTED, REFIT = "plain 1.0", "best single strength", "fitted strengths", "refit LoRA"
INVERSE_NORM, ACTIVATION_RATIO = "inverse-norm rule", "activation-ratio rule"

WORTHWHILE = 0.01
"""What takes the place of plain 1.0 must win back so much of the LoRA's own effect, as a share of its square: what
strength 0.9 instead of 1 costs on the LoRA's own model, to first order. docs/transfer.md has it in pictures."""

GOOD = WORTHWHILE**0.5
"""Where plain 1.0 misses less than this, nothing can win back that much: strengths stay 1."""


@dataclass(frozen=True)
class Candidate:
    """One way to set the strengths."""

    name: str
    strengths: dict[str, float]
    """By group selector; empty for a refit."""
    errors: tuple[float, ...]
    """Held-out output error of each scene: ``|wanted change - change| / |wanted change|``."""
    error: Interval
    gain: Interval
    """Plain 1.0's error less this one's, scene by scene; positive is better."""
    training_error: float | None = None


@dataclass(frozen=True)
class FitTable:
    """Everything that a fit measured."""

    candidates: tuple[Candidate, ...]
    chosen: str
    groups: tuple[str, ...]
    ridge: float
    floor: float
    """Held-out error between two runs of the same set-up: what noise alone does."""
    training_prompts: int
    held_out_prompts: int
    seeds: int
    sigmas: tuple[float, ...]
    evaluations: int
    seconds: float
    guard: bool = False
    """Whether there was no reference model, so that nothing was fitted."""
    guarded: dict[str, float] = field(default_factory=dict)
    saved_as: str = ""
    guidance: Guidance | None = None
    """That the reference was compared at; without one there was no negative prompt, or CFG 1 was set."""
    reference_cfg: float = 0.0
    """What the user set; 0 has it measured."""

    def candidate(self, name: str) -> Candidate | None:
        """The candidate of this name."""
        return next((item for item in self.candidates if item.name == name), None)


def least_gain(plain_error: float) -> float:
    """The gain over plain 1.0's error that is worth another strength; the whole error where that is below ``GOOD``."""
    return plain_error - math.sqrt(max(plain_error**2 - WORTHWHILE, 0.0))


def choose(candidates: Sequence[Candidate], floor: float, allowed: Sequence[str]) -> str:
    """The name of the candidate to use: the best whose gain is certain and worthwhile, else plain 1.0.

    Certain: the whole 95 % interval of the gain is above the floor. Worthwhile: more than :func:`least_gain`.
    """
    plain = next(item for item in candidates if item.name == PLAIN)
    best, least = PLAIN, least_gain(plain.error.mean)
    for item in candidates:
        if item.name in allowed and item.gain.low > floor and item.gain.mean > least:
            best, least = item.name, item.gain.mean
    return best


def fit_report(
    table: FitTable, blocks: str, title: str, model: ModelSummary | None, lora: LoraSummary | None, notes: Sequence[str]
) -> Report:
    """The report of the node."""
    level, verdict, summary, advice = _judge_guard(table) if table.guard else _judge(table)
    return Report(
        kind="fit", title=title, summary=summary, level=level, model=model, lora=lora, blocks=blocks,
        verdict=verdict, advice=advice, notes=(*_notes(table), *notes),
    )  # fmt: skip


def _judge(table: FitTable) -> tuple[Level, str, str, str]:
    plain, fitted = table.candidate(PLAIN), table.candidate(FITTED)
    if plain is None or fitted is None:
        return Level.ERROR, "nothing fitted", "Nothing could be fitted.", ""
    if table.chosen == PLAIN and plain.error.mean <= GOOD:
        missed = _percent(plain.error.mean)
        sentence = f"Strength 1 stays: on held-out probes plain 1.0 misses the LoRA's own effect by only {missed}."
        return Level.OK, "keep 1.0", f"{sentence} {_LEFT_ALONE}", ""
    if table.chosen == PLAIN:
        sentence = (
            f"Strength 1 stays: on held-out probes the fitted strengths miss the LoRA's own effect by "
            f"{_percent(fitted.error.mean)}, plain 1.0 by {_percent(plain.error.mean)} "
            f"(gain {_gain(fitted)}), which is {_why_not(fitted, plain, table.floor)}."
        )
        advice = (
            "" if plain.error.mean < 0.4 else "Strengths cannot fix this: compare pictures, or train on this model."
        )
        return Level.OK, "keep 1.0", sentence, advice
    chosen = table.candidate(table.chosen) or fitted
    sentence = (
        f"{chosen.name[0].upper()}{chosen.name[1:]} bring the LoRA's own effect closer: held-out error "
        f"{_percent(chosen.error.mean)} instead of {_percent(plain.error.mean)} (gain {_gain(chosen)})."
    )
    return Level.OK, table.chosen, sentence, "The error is of the model's output, not of pictures: look at both."


_LEFT_ALONE = "Below 10 %, what strength 0.9 instead of 1 would miss on its own model, strengths are left alone."


def _why_not(item: Candidate, plain: Candidate, floor: float) -> str:
    if item.gain.low > floor:
        return f"too small to be worth another strength (it takes {_percent(least_gain(plain.error.mean))} here)"
    return "not a certain improvement"


def _judge_guard(table: FitTable) -> tuple[Level, str, str, str]:
    lowered = {name: value for name, value in table.guarded.items() if value < 1}
    if not lowered:
        sentence = (
            "No reference model: nothing was fitted. The guard found no block that shifts far more than the others."
        )
        return Level.WARNING, "guard only", sentence, _CONNECT
    worst = min(lowered, key=lambda name: lowered[name])
    sentence = (
        f"No reference model: nothing was fitted. The guard lowers {len(lowered)} of {len(table.guarded)} groups whose "
        f"shift is more than twice the median, {worst} most, to {lowered[worst]:.2f}. This is a rule of thumb."
    )
    return Level.WARNING, "guard only", sentence, _CONNECT


_CONNECT = "Connect the model that the LoRA was trained on as reference to fit strengths to its effect there."


def _notes(table: FitTable) -> list[str]:
    sigmas = ", ".join(f"{sigma:.3g}" for sigma in table.sigmas)
    notes = [f"{table.evaluations} model evaluations, {table.seconds:.1f} s, at sigma {sigmas}."]
    if table.guard:
        return notes
    split = (
        f"{table.training_prompts} prompts fitted, {table.held_out_prompts} others held out"
        if table.held_out_prompts
        else "One prompt only: other seeds of the same prompt were held out, which says little about other prompts"
    )
    notes.append(f"{split}; {table.seeds} seeds each.")
    notes.append(f"Run-to-run floor of the held-out error (A/A): {_percent(table.floor)}. Ridge {table.ridge:g}.")
    notes.append(guidance_note(table.guidance, table.reference_cfg or None))
    if table.saved_as:
        notes.append(f"The refit LoRA was saved as {table.saved_as}.")
    return notes


def fit_text(table: FitTable) -> str:
    """The candidates and their strengths as tables for people."""
    if table.guard:
        lines = [f"  {name.ljust(28)} {value:.3f}" for name, value in table.guarded.items()]
        return "\n".join(["Guard, strength by group (a rule of thumb, nothing was fitted):", *lines])
    rows = [("held-out output error", "mean", "95 % interval", "gain over 1.0", "training")]
    for item in table.candidates:
        mark = " *" if item.name == table.chosen else ""
        training = "-" if item.training_error is None else _percent(item.training_error)
        interval = f"{_percent(item.error.low)} to {_percent(item.error.high)}"
        rows.append((item.name + mark, _percent(item.error.mean), interval, _gain(item), training))
    lines = _columns(rows)
    named = [item for item in table.candidates if item.strengths and item.name not in (PLAIN, BEST_SINGLE)]
    strengths: list[tuple[str, ...]] = [("strength by group", *(item.name for item in named))]
    for group in table.groups:
        strengths.append((group, *(f"{item.strengths.get(group, 1.0):.3f}" for item in named)))
    single = table.candidate(BEST_SINGLE)
    best = [f"Best single strength: {next(iter(single.strengths.values())):.3f}"] if single and single.strengths else []
    return "\n".join([*lines, *best, *_columns(strengths)])


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _gain(item: Candidate) -> str:
    if item.gain.count < 2:
        return f"{100 * item.gain.mean:+.2f} %"
    return f"{100 * item.gain.mean:+.2f} % [{100 * item.gain.low:+.2f}, {100 * item.gain.high:+.2f}]"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def rounded(strengths: Mapping[str, float], digits: int = 3) -> dict[str, float]:
    """Strengths as they stand in the text form."""
    return {name: round(value, digits) for name, value in strengths.items()}
