"""Does a LoRA fit the model in front of the user? Everything that applying does, but for the applying."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from ..core.architectures import identify_architecture
from ..core.compat import (
    Verdict,
    explain,
    find_stranger,
    identify_weights,
    judge,
    lora_facts,
    untouched_blocks,
)
from ..core.metadata import read_training
from ..core.report import LoraSummary, Report
from .apply import summarise_lora
from .lora_cache import LORA_CACHE, LoadedLora
from .measuring import measure_plan
from .model_keys import ModelKeys
from .patching import MATCHES, plan_patches
from .stock import add_stock


@dataclass(frozen=True)
class Checked:
    """The verdict and the report that explains it."""

    verdict: Verdict
    report: Report


def check_lora(path: str, name: str, model: Any, clip: Any) -> Checked:
    """Judge the LoRA at ``path`` for ``model`` and ``clip`` (which may be ``None``). Nothing is patched.

    Raises:
        HeaderError: the file is not a LoRA that can be read.
    """
    lora = LORA_CACHE.load(path, name)
    keys = MATCHES.model_keys(model, clip)
    plan = plan_patches(lora, keys, 1.0, 1.0, "")
    match = identify_weights(keys.own_shapes)
    stranger = find_stranger(lora.file, keys.own_shapes, match)
    layers = measure_plan(plan, keys, model, clip)
    layers = add_stock(layers, lora.file, MATCHES.match(lora, keys, as_stock=True), keys)
    layers = explain(layers, stranger)
    report = Report(
        kind="check",
        title=f"{os.path.basename(name)} for {keys.summary.architecture}",
        summary="",
        model=keys.summary,
        lora=_summary(lora),
        strength_model=1.0,
        strength_clip=None if clip is None else 1.0,
        layers=layers,
    )
    verdict = judge(layers, os.path.basename(name), match, keys.summary.architecture, stranger, report.coverage)
    return Checked(verdict, _with_verdict(report, verdict, lora, keys))


def _summary(lora: LoadedLora) -> LoraSummary:
    match = identify_architecture(lora_facts(lora.file))
    training = read_training(lora.header.metadata)
    return replace(
        summarise_lora(lora),
        architecture=f"{match.name} ({match.certainty})" if match.id else "",
        base_model=training.base_model[:300],
        trigger_words=training.trigger_words,
    )


def _with_verdict(report: Report, verdict: Verdict, lora: LoadedLora, keys: ModelKeys) -> Report:
    provenance = read_training(lora.header.metadata).provenance
    trained = f"Trained on a {provenance.kind} model ({provenance.certainty}: {provenance.evidence})."
    notes = (
        *verdict.notes,
        *((text,) if (text := untouched_blocks(report.layers, keys.layout)) else ()),
        *((trained,) if provenance.kind else ()),
        *lora.file.notes,
    )
    return replace(
        report,
        summary=verdict.summary,
        level=verdict.level,
        notes=notes,
        verdict=verdict.fit.value,
        advice=verdict.advice,
    )
