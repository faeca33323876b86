"""The verdict on a feature shift, and what the picture on the node is drawn from."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..report.report import Level, ModelSummary, Report
from ..report.text import number
from .feature_stats import SKETCH_SIZE, quantile, rebin
from .guidance import Guidance
from .profile import OUTPUT, Change, FeatureRecord, Profile, Shift, change, seed_shift, shift

SAME, LARGELY, PARTLY = 0.95, 0.85, 0.6
"""Bounds of the cosine of the two changes for the words of the verdict; docs/transfer.md has measured examples."""

_BINS = 48
_CENTRAL = 0.001
_FLOOR_MARGIN = 3.0
_LIKE_SIZED = 1.5
"""A change more than so many times larger or smaller is said to be stronger or weaker."""


@dataclass(frozen=True)
class ShiftRow:
    """One stream of one block."""

    block: str
    """``double_blocks.3``, or ``output``."""
    stream: str
    """``img``, ``txt``, ``all``, or empty for the output."""
    shift: float
    """``|b - a| / |a|`` over all probes."""
    cosine: float
    frechet: float
    floor: float
    """The same shift between two runs of model a."""
    seeds: float | None = None
    """The same shift between two seeds of model a."""
    reference_shift: float | None = None
    """Shift on the reference model, where a transfer is measured."""
    ratio: float | None = None
    """Size of the change here over its size on the reference."""
    change_cosine: float | None = None
    change_error: float | None = None
    seed_cosine: float | None = None
    """``change_cosine`` with the reference's change of another seed."""
    channels: tuple[tuple[int, float], ...] = ()
    """Channel and how far it moved, in root-mean-square deviations."""
    low: float = 0.0
    """Left end of the histograms."""
    high: float = 0.0
    histogram_a: tuple[float, ...] = ()
    """Shares of the values in equal bins."""
    histogram_b: tuple[float, ...] = ()


@dataclass(frozen=True)
class ShiftTable:
    """Everything that was measured."""

    rows: tuple[ShiftRow, ...]
    prompts: int
    seeds: int
    sigmas: tuple[float, ...]
    evaluations: int
    seconds: float
    from_cache: int = 0
    """Profiles that were not taken again."""
    transfer: bool = False
    guidance: Guidance | None = None
    """That the reference's output was compared at, where a negative prompt was given."""


def build_rows(
    a: Profile, b: Profile, again: Profile, reference: tuple[Profile, Profile] | None = None
) -> tuple[ShiftRow, ...]:
    """Compare two profiles place by place, in the model's order.

    Args:
        again: Model a a second time, on some of the probes: the floor.
        reference: The same LoRA on the model that it was made for: without and with it.
    """
    names = [name for name in a.records if name in b.records and name != OUTPUT]
    rows = [_row(name, a, b, again, reference) for name in sorted(names, key=_place_order(list(a.records)))]
    return (*rows, _row(OUTPUT, a, b, again, reference))


def _place_order(names: list[str]) -> Callable[[str], tuple[int, int]]:
    blocks = {name.partition("|")[0]: None for name in names}
    order = {block: index for index, block in enumerate(blocks)}
    streams = {"img": 0, "txt": 1}
    return lambda name: (order[name.partition("|")[0]], streams.get(name.partition("|")[2], 2))


def _row(name: str, a: Profile, b: Profile, again: Profile, reference: tuple[Profile, Profile] | None) -> ShiftRow:
    before, after = a.records[name], b.records[name]
    moved = shift(before, after)
    block, _, stream = name.partition("|")
    floor = shift(before, again.records[name]).relative_l2 if name in again.records else math.nan
    there = _change(name, before, after, reference)
    low, high = _range(before, after)
    return ShiftRow(
        block, stream, moved.relative_l2, moved.cosine, moved.frechet, floor, seed_shift(before),
        _reference_shift(name, reference),
        *((there.ratio, there.cosine, there.error, there.seed_cosine) if there else (None,) * 4),
        channels=moved.channels, low=low, high=high,
        histogram_a=tuple(rebin(before.histogram, low, high, _BINS)),
        histogram_b=tuple(rebin(after.histogram, low, high, _BINS)),
    )  # fmt: skip


def _change(
    name: str, before: FeatureRecord, after: FeatureRecord, reference: tuple[Profile, Profile] | None
) -> Change | None:
    if reference is None or any(name not in profile.records for profile in reference):
        return None
    return change((before, after), (reference[0].records[name], reference[1].records[name]))


def _reference_shift(name: str, reference: tuple[Profile, Profile] | None) -> float | None:
    if reference is None or any(name not in profile.records for profile in reference):
        return None
    found: Shift = shift(reference[0].records[name], reference[1].records[name])
    return found.relative_l2


def _range(before: FeatureRecord, after: FeatureRecord) -> tuple[float, float]:
    ends = [quantile(record.histogram, share) for record in (before, after) for share in (_CENTRAL, 1 - _CENTRAL)]
    low, high = min(ends), max(ends)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def judge_shift(table: ShiftTable, name_a: str, name_b: str) -> tuple[Level, str, str, str]:
    """Level, verdict in a word or two, one sentence with the number behind it, and advice."""
    return _judge_transfer(table) if table.transfer else _judge_pair(table, name_a, name_b)


def _judge_pair(table: ShiftTable, name_a: str, name_b: str) -> tuple[Level, str, str, str]:
    output = table.rows[-1]
    if all(row.shift == 0 for row in table.rows):
        return Level.OK, "identical", f"{name_b} does exactly what {name_a} does: every feature is the same.", ""
    if output.shift <= _FLOOR_MARGIN * output.floor:
        sentence = (
            f"Not distinguishable: the output moves by {_percent(output.shift)} of its size, and by "
            f"{_percent(output.floor)} when {name_a} is merely run twice."
        )
        return Level.WARNING, "not distinguishable", sentence, ""
    blocks = table.rows[:-1]
    strongest = max(blocks, key=lambda row: row.shift) if blocks else output
    seeds = "" if output.seeds is None else f"; another seed moves it by {_percent(output.seeds)}"
    sentence = (
        f"The output of {name_b} is {_percent(output.shift)} away from that of {name_a}{seeds}. The largest shift "
        f"inside is {_percent(strongest.shift)}, after {_place(strongest)}."
    )
    return Level.OK, "measured", sentence, ""


def _judge_transfer(table: ShiftTable) -> tuple[Level, str, str, str]:
    output = table.rows[-1]
    if output.change_error is None or output.ratio is None or output.change_cosine is None:
        sentence = "The two models return outputs of different shapes: a transfer cannot be measured."
        return Level.ERROR, "not comparable", sentence, ""
    if output.reference_shift is not None and output.reference_shift <= _FLOOR_MARGIN * output.floor:
        sentence = "On the reference model the LoRA changes nothing that could be told from the run-to-run floor."
        return Level.WARNING, "not distinguishable", sentence, ""
    cosines = [row.change_cosine for row in table.rows[:-1] if row.change_cosine is not None]
    inside = f" (median inside {_plain(statistics.median(cosines))})" if cosines else ""
    figures = (
        f"its change of the output points the same way to cosine {_plain(output.change_cosine)}{inside} and is "
        f"{_plain(output.ratio)} times as large; transfer error {_plain(output.change_error)}"
    )
    stronger = output.ratio > _LIKE_SIZED
    size = "" if 1 / _LIKE_SIZED <= output.ratio <= _LIKE_SIZED else f", but {'stronger' if stronger else 'weaker'}"
    for bound, level, verdict, words, advice in _WORDS:
        if output.change_cosine >= bound:
            if size:
                level, advice = (
                    Level.WARNING,
                    f"Try strength {1 / output.ratio:.2g} for the same size. {advice}".strip(),
                )
            return level, verdict, f"{words}{size}: {figures}.", advice
    return Level.ERROR, "not comparable", "The cosine of the two changes is not a number.", ""


_WORDS = (
    (SAME, Level.OK, "transfers", "The LoRA does on this model what it did on its own", ""),
    (
        LARGELY, Level.WARNING, "transfers with losses",
        "The LoRA loses a visible part of what it did on its own model",
        "Compare pictures: on Klein Nano a cosine of 0.87 cost 5.6 dB. Transfer LoRA teaches it to this model.",
    ),
    (
        PARTLY, Level.WARNING, "transfers in part", "The LoRA does only in part what it did on its own model",
        "Transfer LoRA teaches it to this model; Fit Strengths finds what strengths alone can do.",
    ),
    (
        -math.inf, Level.WARNING, "does not transfer", "The LoRA does something else here than on its own model",
        "Strengths cannot correct a wrong direction. Transfer LoRA teaches it to this model, or use the LoRA's own.",
    ),
)  # fmt: skip


def shift_report(
    table: ShiftTable, title: str, names: tuple[str, str], model: ModelSummary | None, notes: Sequence[str] = ()
) -> Report:
    """The report of the node."""
    level, verdict, summary, advice = judge_shift(table, *names)
    return Report(
        kind="shift", title=title, summary=summary, level=level, model=model, verdict=verdict, advice=advice,
        notes=(*_method_notes(table), *notes),
    )  # fmt: skip


def _method_notes(table: ShiftTable) -> list[str]:
    probes = table.prompts * table.seeds * len(table.sigmas)
    sigmas = ", ".join(f"{sigma:.3g}" for sigma in table.sigmas)
    floors = [row.floor for row in table.rows if math.isfinite(row.floor)]
    notes = [
        f"The models saw the same {probes} noisy latents: {table.prompts} prompts x {table.seeds} seeds at sigma "
        f"{sigmas}.",
        f"Run-to-run floor (A/A): at most {_percent(max(floors))}." if floors else "Run-to-run floor: not measured.",
        f"Shifts come from random projections to {SKETCH_SIZE} numbers and are accurate to about 1 % of themselves; "
        "channel statistics are exact.",
        f"{table.evaluations} model evaluations, {table.seconds:.1f} s"
        + (f"; {table.from_cache} profiles came from the cache." if table.from_cache else "."),
    ]
    output = table.rows[-1]
    if table.transfer and output.seed_cosine is not None:
        notes.append(
            "Control: with another seed's change on the reference, the output's cosine is "
            f"{_plain(output.seed_cosine)}. The closer it is to the verdict's, the more of the change is the "
            "same in every picture."
        )
    return notes


def shift_text(table: ShiftTable) -> str:
    """The rows as a table for people."""
    head = ["place", "shift", "cosine", "Frechet", "floor", "other seed"]
    if table.transfer:
        head += ["on reference", "ratio", "change cosine", "other seed's"]
    lines = [head]
    for row in table.rows:
        cells = [row.shift, row.cosine, row.frechet, row.floor, row.seeds]
        if table.transfer:
            cells += [row.reference_shift, row.ratio, row.change_cosine, row.seed_cosine]
        lines.append([_place(row), *("-" if cell is None else number(cell) for cell in cells)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    body = [
        "  ".join(
            cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    moved = [
        f"  {_place(row)}: " + ", ".join(f"{channel} by {value:.2g}" for channel, value in row.channels)
        for row in table.rows[:-1]
        if row.channels
    ]
    if moved:
        body += ["Channels that moved most (in root-mean-square deviations):", *moved]
    return "\n".join(["Feature shift by block:", *(f"  {line}" for line in body)])


def _place(row: ShiftRow) -> str:
    return f"{row.block} {row.stream}".strip()


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _plain(value: float) -> str:
    return f"{value:.2f}"
