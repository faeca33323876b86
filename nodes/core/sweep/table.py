"""What a sweep found, as data: a row a unit, the whole, and the figures that it is drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..images.metrics import compare_pictures
from ..transfer.least_squares import Interval, interval
from .bench import Bench, Dropped, rms
from .modes import SOLO, Swept
from .rank import rank_correlation
from .units import Unit, strengths_without

DEAD = 0.02
"""A unit whose effect is below this share of the LoRA's (and below twice the run-to-run floor) is dead weight: of a
LoRA that changes a picture by 20 dB it is a change of 54 dB, less than a step of 8-bit colours."""


@dataclass(frozen=True)
class PictureFigures:
    """Means over the scenes of one setting's pictures against those of the whole LoRA."""

    mae: float
    psnr: float | None
    """Of the mean squared error; ``None`` where all are identical."""
    ssim: float


@dataclass(frozen=True)
class UnitRow:
    """One unit."""

    name: str
    selectors: tuple[str, ...]
    layers: int
    effect: Interval | None
    """Share of the LoRA's whole effect that the unit changes where it is left out (``solo``: that it makes alone);
    ``None`` where it was not run alone."""
    toward: Interval | None
    """``solo``: how far the unit alone goes towards the whole LoRA."""
    figures: PictureFigures | None
    energy: float | None
    shift: float | None
    kept: bool
    dead: bool
    """Whether its effect is too small to be told from none."""
    given_others: int = 0
    """How many units were left out already when it was run (the search leaves out more and more)."""


@dataclass(frozen=True)
class Bundle:
    """Units that the search left out at once."""

    units: tuple[int, ...]
    effect: Interval


@dataclass(frozen=True)
class PairFound:
    """Units that only matter together, by name."""

    units: tuple[str, ...]
    together: float
    added: float
    singly: tuple[float, ...]


@dataclass(frozen=True)
class Costs:
    """What a sweep took."""

    settings: int
    """Sets of units that were run, beside the whole LoRA and the model without it."""
    every_set: float
    """Sets that there are."""
    evaluations: int = 0
    resumed: int = 0
    """Pictures that were there from an earlier run."""
    seconds: float = 0.0


@dataclass(frozen=True)
class SweepTable:
    """Everything that a sweep measured."""

    mode: str
    grouping: str
    rows: tuple[UnitRow, ...]
    distance: float
    """What was allowed to be missed."""
    blocks: str
    """The text that leaves out what may be left out; ``all=1`` for nothing."""
    missed: Interval
    """What it misses of the LoRA's effect."""
    kept_figures: PictureFigures | None
    """Its pictures against those of the whole LoRA."""
    whole_figures: PictureFigures | None
    """The pictures without the LoRA against those with it: how much it does."""
    floor: float
    prompts: int
    seeds: int
    pictures: bool
    """Whether pictures were compared; else latents."""
    costs: Costs
    bundles: tuple[Bundle, ...] = ()
    interactions: tuple[PairFound, ...] = ()
    stopped: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def kept(self) -> int:
        """Number of units that stay."""
        return sum(row.kept for row in self.rows)

    @property
    def measured(self) -> int:
        """Number of units that something is known of."""
        bundled = {unit for bundle in self.bundles for unit in bundle.units}
        return sum(row.effect is not None or index in bundled for index, row in enumerate(self.rows))


def build_table(
    bench: Bench,
    swept: Swept,
    units: Sequence[Unit],
    grouping: str,
    distance: float,
    scenes: tuple[int, int],
    costs: Costs,
    notes: Sequence[str] = (),
) -> SweepTable:
    """Put together what a sweep measured.

    Args:
        scenes: Number of prompts, and of seeds for each.
    """
    whole = picture_figures(bench, bench.everything)
    return SweepTable(
        mode=swept.mode,
        grouping=grouping,
        rows=unit_rows(bench, swept, units),
        distance=distance,
        blocks=strengths_without(units, swept.dropped) or "all=1",
        missed=bench.missed(swept.dropped),
        kept_figures=picture_figures(bench, swept.dropped),
        whole_figures=whole,
        floor=bench.floor,
        prompts=scenes[0],
        seeds=scenes[1],
        pictures=whole is not None,
        costs=costs,
        bundles=bundles_of(bench, swept),
        interactions=named_interactions(swept, units),
        stopped=swept.stopped,
        notes=tuple(notes),
    )


def unit_rows(bench: Bench, swept: Swept, units: Sequence[Unit]) -> tuple[UnitRow, ...]:
    """A row for each unit, in the units' order."""
    rows: list[UnitRow] = []
    for index, unit in enumerate(units):
        setting, before = swept.alone.get(index), swept.before.get(index, frozenset())
        effect = None if setting is None else effect_of(bench, setting, before)
        solo = swept.mode == SOLO and setting is not None
        rows.append(
            UnitRow(
                unit.name, unit.selectors, unit.layers, effect,
                bench.toward(setting) if solo and setting is not None else None,
                None if setting is None else picture_figures(bench, setting),
                unit.energy, unit.shift, index not in swept.dropped, is_dead(effect, bench.floor),
                0 if solo else len(before),
            )
        )  # fmt: skip
    return tuple(rows)


def effect_of(bench: Bench, setting: Dropped, before: Dropped) -> Interval:
    """The size of the change from one setting to another, as a share of the LoRA's whole effect."""
    return interval([rms(change) for change in bench.changes(setting, before)])


def is_dead(effect: Interval | None, floor: float) -> bool:
    """Whether an effect is too small to be told from none; with three scenes or more its whole interval is."""
    if effect is None:
        return False
    upper = effect.high if effect.count > 2 else effect.mean  # of two scenes the interval is 18 times the difference
    return upper <= max(DEAD, 2 * floor)


def bundles_of(bench: Bench, swept: Swept) -> tuple[Bundle, ...]:
    """The bundles with what they change together, each on top of those before it."""
    found: list[Bundle] = []
    for bundle in swept.bundles:
        before = swept.bundle_before.get(bundle, frozenset())
        found.append(Bundle(tuple(sorted(bundle)), effect_of(bench, before | bundle, before)))
    return tuple(found)


def picture_figures(bench: Bench, setting: Dropped, against: Dropped = frozenset()) -> PictureFigures | None:
    """MAE, PSNR and SSIM over the scenes; ``None`` for latents."""
    pairs = list(zip(bench.pictures(setting), bench.pictures(against), strict=True))
    if not all(picture.ndim == 3 and picture.shape[-1] == 3 for picture, _ in pairs):
        return None
    each = [compare_pictures(picture, full) for picture, full in pairs]
    count = len(each)
    mse = math.fsum(metrics.mse for metrics in each) / count
    return PictureFigures(
        mae=math.fsum(metrics.mae for metrics in each) / count,
        psnr=-10 * math.log10(mse) if mse > 0 else None,
        ssim=math.fsum(metrics.ssim for metrics in each) / count,
    )


def named_interactions(swept: Swept, units: Sequence[Unit]) -> tuple[PairFound, ...]:
    """The interactions with the units' names."""
    return tuple(
        PairFound(tuple(units[unit].name for unit in found.units), found.together, found.added, found.singly)
        for found in swept.interactions
    )


def agreement(rows: Sequence[UnitRow]) -> Mapping[str, float | None]:
    """Rank correlation of the units' effects with their energy and with their feature shift."""
    result: dict[str, float | None] = {}
    for name in ("energy", "shift"):
        known = [
            (row.effect.mean, getattr(row, name))
            for row in rows
            if row.effect is not None and getattr(row, name) is not None
        ]
        result[name] = rank_correlation([a for a, _ in known], [b for _, b in known]) if len(known) > 2 else None
    return result
