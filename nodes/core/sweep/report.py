"""The words for a sweep: the sentence that answers, the advice, the notes, and a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..report.report import Level, LoraSummary, ModelSummary, Report, picture_data
from ..transfer.least_squares import Interval
from .modes import KNOCK_OUT, SEARCH, SOLO
from .table import DEAD, SweepTable, UnitRow, agreement


def sweep_report(table: SweepTable, title: str, model: ModelSummary | None, lora: LoraSummary | None) -> Report:
    """The report of the node."""
    level, summary, advice = _judge(table)
    return Report(
        kind="sweep", title=title, summary=summary, level=level, model=model, lora=lora, blocks=table.blocks,
        verdict=verdict_of(table), advice=advice, notes=(*_notes(table), *table.notes),
    )  # fmt: skip


def sweep_data(report: Report, table: SweepTable) -> dict[str, Any]:
    """Everything as JSON: what the picture on the node is drawn from, and what the command line prints."""
    return picture_data(report, table, "patchbay.sweep")


def verdict_of(table: SweepTable) -> str:
    """``9 of 25``: how many units make the picture."""
    return f"{table.kept} of {len(table.rows)}"


def _judge(table: SweepTable) -> tuple[Level, str, str]:
    total, kept, missed = len(table.rows), table.kept, _percent(table.missed.mean)
    if table.stopped and table.measured < total:
        advice = "Run it again to go on from here, or give it more time."
        return Level.WARNING, f"The time ran out after {table.measured} of {total} units.", advice
    if kept == total:
        sentence = (
            f"All {total} units are needed: leaving out even the least important one misses more than "
            f"{_percent(table.distance)} of the LoRA's effect."
        )
        return Level.OK, sentence, "Allow a larger distance, or sweep smaller units."
    sentence = (
        f"The same picture with {kept} of {total} units: without the others {missed} of the LoRA's effect are missed, "
        f"{_percent(table.distance)} were allowed."
    )
    return Level.OK, sentence, "Use the text in Apply LoRA or Save LoRA, and try another prompt before you rely on it."


def _notes(table: SweepTable) -> list[str]:
    notes = list(_picture_notes(table))
    if table.mode != SOLO:
        dead = [row.name for row in table.rows if row.dead and not row.kept]
        if dead:
            notes.append(f"Dead weight, below {_percent(max(DEAD, 2 * table.floor))} of the effect: {_names(dead)}.")
    most = sorted((row for row in table.rows if row.effect is not None), key=_mean, reverse=True)[:3]
    if most:
        listed = ", ".join(f"{row.name} ({_percent(_mean(row))})" for row in most)
        notes.append(f"Most of the effect: {listed}.")
    for found in table.interactions:
        singly = ", ".join(_percent(value) for value in found.singly)
        notes.append(
            f"Only together: without {_names(found.units)}, {_percent(found.together)} are missed; without each alone, "
            f"{singly}."
        )
    notes += _disagreements(table)
    notes += _method_notes(table)
    return notes


def _picture_notes(table: SweepTable) -> Sequence[str]:
    whole, kept = table.whole_figures, table.kept_figures
    if whole is None or kept is None:
        return ("Latents were compared. Connect a VAE to compare pictures.",)
    own = _decibels(whole.psnr)
    if table.kept == len(table.rows):
        return (f"The whole LoRA changes the pictures by {own} (PSNR, lower is more).",)
    return (
        f"Against the whole LoRA's pictures: PSNR {_decibels(kept.psnr)}, SSIM {kept.ssim:.4f}, mean difference "
        f"{kept.mae:.4f}; without the LoRA PSNR {own}.",
    )


def _disagreements(table: SweepTable) -> list[str]:
    """Where the weights or the features say something else than the pictures."""
    notes: list[str] = []
    found = agreement(table.rows)
    if table.mode == SEARCH:  # the effects of a search are those on top of what is left out already
        return notes
    if found["energy"] is not None:
        notes.append(f"Rank correlation of the effect with the size of the weights' change: {found['energy']:.2f}.")
    if found["shift"] is not None:
        notes.append(f"Rank correlation of the effect with the feature shift: {found['shift']:.2f}.")
    return notes


def _method_notes(table: SweepTable) -> list[str]:
    scenes = table.prompts * table.seeds
    costs = table.costs
    notes = [
        f"Prompts: {table.prompts}; seeds for each: {table.seeds}.",
        f"Run-to-run floor (A/A): {_percent(table.floor)} of the LoRA's effect.",
    ]
    if scenes == 1:
        notes.append("One prompt and one seed: intervals are not known, and other pictures may need other blocks.")
    every = _count(costs.every_set)
    notes.append(f"{costs.settings} sets of units were run; there are {every}.")
    evaluations = f"{costs.evaluations} model evaluations, " if costs.evaluations else ""
    notes.append(f"{evaluations}{costs.seconds:.1f} s.")
    if costs.resumed:
        notes.append(f"{costs.resumed} pictures were there from an earlier run.")
    if table.stopped:
        notes.append("The time ran out: a longer run may find a smaller set.")
    return notes


def sweep_text(table: SweepTable) -> str:
    """The units as a table for people."""
    last = "towards the LoRA" if table.mode == SOLO else "PSNR to the LoRA"
    rows = [("unit", "effect", "95 % interval", last, "energy", "feature shift", "")]
    bundled = {unit: number for number, bundle in enumerate(table.bundles, 1) for unit in bundle.units}
    for index, row in enumerate(table.rows):
        figure = "-" if row.figures is None else _decibels(row.figures.psnr)
        if table.mode == SOLO:
            figure = "-" if row.toward is None else _percent(row.toward.mean)
        effect = "-" if row.effect is None else _percent(row.effect.mean)
        if row.effect is None and index in bundled:
            effect = f"group {bundled[index]}"
        rows.append(
            (
                row.name, effect, _range(row.effect), figure, _share(row.energy), _share(row.shift),
                "keep" if row.kept else "dead" if row.dead else "leave out",
            )
        )  # fmt: skip
    lines = _columns(rows)
    for number, bundle in enumerate(table.bundles, 1):
        names = _names([table.rows[unit].name for unit in bundle.units])
        lines.append(f"group {number}, left out at once: {names}: {_percent(bundle.effect.mean)}")
    return "\n".join(lines)


EFFECT = {
    KNOCK_OUT: "what is missed without the unit",
    SOLO: "what the unit makes alone",
    SEARCH: "what is missed when it is left out too",
}
"""What ``effect`` means in each mode, as shares of what the whole LoRA changes."""


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i in (0, len(row) - 1) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _mean(row: UnitRow) -> float:
    return -math.inf if row.effect is None else row.effect.mean


def _range(effect: Interval | None) -> str:
    if effect is None or not math.isfinite(effect.low):
        return "-"
    return f"{_percent(max(effect.low, 0.0))} to {_percent(effect.high)}"


def _share(value: float | None) -> str:
    return "-" if value is None else _percent(value)


def _decibels(psnr: float | None) -> str:
    return "identical" if psnr is None else f"{psnr:.1f} dB"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value:.2g}"
