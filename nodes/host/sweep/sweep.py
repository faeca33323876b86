"""The whole of a sweep: plan, run, judge, report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...core.lora.places import place_layer
from ...core.model.blocks import TEXT_ENCODER
from ...core.report.report import Report
from ...core.strengths.groups import BLOCK_AND_PART
from ...core.sweep.bench import Bench, Dropped
from ...core.sweep.modes import SEARCH, Swept, run_mode
from ...core.sweep.report import sweep_report
from ...core.sweep.sheet import sweep_sheet
from ...core.sweep.table import Costs as SweepCosts
from ...core.sweep.table import SweepTable, build_table
from ...core.sweep.units import OWN, Unit, strengths_without
from ..apply.apply import summarise_lora
from ..apply.plan import MATCHES
from ..measure.run_costs import Costs
from .cells import Cells, SweepInputs, scenes_of
from .store import LATENTS
from .units import LEVELS, find_units, with_shift

FLOOR_SCENES = 2
"""Scenes of which the whole LoRA is run twice."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep returns."""

    blocks: str
    """The text form that leaves out what may be left out; ``all=1`` for nothing."""
    sheet: Tensor
    """[height, width, 3] in 0..1."""
    table: SweepTable
    report: Report
    bench: Bench
    """The pictures themselves, for whoever judges them otherwise."""
    swept: Swept
    cell_seconds: tuple[float, ...]
    """Time of each sampling."""


def run_sweep(inputs: SweepInputs, node_id: str | None = None) -> SweepResult:
    """Sweep a LoRA's units on a model.

    The whole LoRA, the model without it and the whole LoRA again are always run; then settings for as long as the time
    allows. What was run before with the same model, LoRA, prompts and settings comes from ComfyUI's user folder.

    Raises:
        PatchbayError: nothing of the LoRA lands, or it changes nothing here.
        InterruptProcessingException: somebody pressed stop; what was run is kept for the next time.
    """
    units = find_units(inputs.lora, inputs.model, inputs.grouping, inputs.own_groups)
    scenes, prompts = scenes_of(inputs)
    shifts = inputs.feature_shift and inputs.grouping not in (BLOCK_AND_PART, OWN)
    shift_steps = 2 * min(LEVELS, inputs.steps) if shifts else 0
    costs = Costs(_expected(inputs, len(units), len(scenes)) + shift_steps, node_id)
    cells = Cells(inputs, units, scenes, costs)
    bench = Bench(len(units), cells.run)
    bench.spans()
    note = ""
    if shifts:
        plain = cells.patched(strengths_without(units, bench.everything))
        units, note = with_shift(units, plain, cells.patched(), scenes[0], costs.step)
    # After the model without the LoRA: what a change of strengths leaves behind would show in the floor.
    bench.measure_floor(cells.pictures("", again=True, most=FLOOR_SCENES))
    cells.begin()
    swept = run_mode(bench, inputs.mode, inputs.distance, _least_first(units))
    LATENTS.shrink()
    costs.finish()
    took = SweepCosts(bench.settings, 2.0 ** len(units), costs.done, cells.resumed, costs.seconds)
    notes = (*_text_encoder_note(inputs), *((f"No feature shift: {note}",) if note else ()))
    table = build_table(bench, swept, units, inputs.grouping, inputs.distance, (prompts, inputs.seeds), took, notes)
    keys = MATCHES.model_keys(inputs.model, None)
    title = f"{os.path.basename(inputs.lora.name)} on {keys.summary.architecture}"
    report = sweep_report(table, title, keys.summary, summarise_lora(inputs.lora))
    settings: list[Dropped | None] = [swept.alone.get(index) for index in range(len(units))]
    sheet = sweep_sheet(bench, table, settings, swept.dropped, title)
    return SweepResult(table.blocks, sheet, table, report, bench, swept, tuple(cells.latent_seconds))


def _expected(inputs: SweepInputs, units: int, scenes: int) -> int:
    """Steps that are likely to come, for the progress bar: a search takes about as many settings as half its units."""
    settings = units // 2 + 6 if inputs.mode == SEARCH else units + 4
    return (2 + settings) * scenes * inputs.steps + min(FLOOR_SCENES, scenes) * inputs.steps


def _least_first(units: Sequence[Unit]) -> list[int]:
    """The units with the least of the LoRA's energy first; in the model's order where that is not known."""
    return sorted(range(len(units)), key=lambda index: units[index].energy or 0.0)


def _text_encoder_note(inputs: SweepInputs) -> tuple[str, ...]:
    """The prompts come in encoded, so the LoRA's part for the text encoder is in them or not, in every run alike."""
    layers = inputs.lora.file.layers
    count = sum(place_layer(layer.name, "")[0] == TEXT_ENCODER for layer in layers)
    return (f"{count} layers for the text encoder are not swept: the prompts come in encoded.",) if count else ()
