"""The units of a LoRA on the model in front of us, with their layers, their energy and their feature shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import comfy.samplers
import torch

from ...core.errors import PatchbayError
from ...core.report.report import LayerState
from ...core.sweep.units import OWN, Unit, check_count, check_groups, own_groups, tagged, units_of_places
from ...core.transfer.fit_rules import by_group
from ..apply.layer_norms import measure_plan
from ..apply.lora_cache import LoadedLora
from ..apply.plan import MATCHES, plan_patches
from ..measure.sampling import Sampling
from ..transfer.group_figures import added_shifts
from ..transfer.probes import plan_probes
from ..transfer.profiling import take_profile

LEVELS = 4
"""Noise levels at which features are compared."""


def find_units(lora: LoadedLora, model: Any, grouping: str, groups: str = "") -> tuple[Unit, ...]:
    """The units that the LoRA changes in this model, in the model's order, with layers and energy.

    Args:
        grouping: One of ``UNITS``.
        groups: The user's own groups, for ``own groups``.

    Raises:
        PatchbayError: nothing of the LoRA lands, there is only one unit, or ``groups`` does not parse.
        BlockStrengthError: a group names nothing in this model.
    """
    keys = MATCHES.model_keys(model, None)
    plan = plan_patches(lora, keys, 1.0, 0.0, "")
    if not plan.patches:
        raise PatchbayError(
            f"{lora.name}: no layer of this LoRA fits this model, so there is nothing to sweep. "
            "Check LoRA (Patchbay) says why."
        )
    if grouping == OWN:
        found = own_groups(groups)
    else:
        patched = [planned.patch.model_key for planned in plan.patches]
        places = ((keys.layout.place(key), keys.shapes.get(key, ())) for key in patched)
        found = units_of_places(places, grouping, keys.layout.kinds)
    measured = _with_energy(lora, model, found)
    if grouping == OWN:
        check_groups(measured)
    check_count(measured, grouping, lora.name)
    return measured


def _with_energy(lora: LoadedLora, model: Any, units: Sequence[Unit]) -> tuple[Unit, ...]:
    """Count each unit's layers and share out the squared delta norm. Each layer belongs to the last that names it."""
    keys = MATCHES.model_keys(model, None)
    text, tags = tagged(units)
    layers = measure_plan(plan_patches(lora, keys, 1.0, 0.0, text), keys, model, None, quick=True)
    members: list[set[str]] = [set() for _ in units]
    squares = [0.0 for _ in units]
    known = True
    for layer in layers:
        index = tags.get(layer.block_strength)
        if layer.state is not LayerState.APPLIED or index is None:
            continue
        members[index].add(layer.lora_key)
        known = known and layer.delta_norm is not None
        squares[index] += (layer.delta_norm or 0.0) ** 2
    total = math.fsum(squares)
    return tuple(
        replace(unit, layers=len(members[i]), energy=squares[i] / total if known and total else None)
        for i, unit in enumerate(units)
    )


def with_shift(
    units: Sequence[Unit], plain: Any, patched: Any, sampling: Sampling, step_done: Any
) -> tuple[tuple[Unit, ...], str]:
    """The units with what their blocks add to the shift of the features, on one prompt and noise; and why not.

    Only units that are a block, a stream of one or a kind of block have one.
    """
    schedule = comfy.samplers.calculate_sigmas(
        plain.get_model_object("model_sampling"), sampling.scheduler, sampling.steps
    )
    try:
        probes = plan_probes(
            plain, sampling.positive[:1], sampling.latent, torch.as_tensor(schedule), sampling.seed, 1, LEVELS
        )
        before = take_profile(plain, probes, step_done)
        probes = replace(probes, latents=dict(before.latents))
        added = added_shifts(before, take_profile(patched, probes, step_done))
    except PatchbayError as error:
        return tuple(units), str(error)
    single = [unit.selectors[0] for unit in units if len(unit.selectors) == 1]
    found = by_group(added, single)
    shifted = [
        replace(unit, shift=found.get(unit.selectors[0])) if len(unit.selectors) == 1 else unit for unit in units
    ]
    return tuple(shifted), ""
