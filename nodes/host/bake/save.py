"""Save a LoRA with its strengths baked in, so that ComfyUI's own loader at strength 1 does what Apply LoRA does now."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.bake.file import BakedFile, Source, free_path, write_baked
from ...core.bake.layer import BakeOptions
from ...core.files.hashes import file_hashes
from ...core.report.report import Report
from ..apply.layer_norms import measure_plan
from ..apply.lora_cache import LORA_CACHE
from ..apply.plan import MATCHES, plan_patches
from ..apply.renumber import number_lora
from .layers import COMFY_NAMES, KEEP_NAMES, LayerBuilder
from .report import layer_reports, save_report

NAMES = (KEEP_NAMES, COMFY_NAMES)


@dataclass(frozen=True)
class Saved:
    """The file, and what became of every layer."""

    file: BakedFile
    report: Report


def save_lora(
    path: str,
    name: str,
    model: Any,
    clip: Any,
    strengths: tuple[float, float],
    blocks: str,
    options: BakeOptions,
    target: Path,
    names: str = KEEP_NAMES,
    overwrite: bool = False,
    block_map: str = "",
) -> Saved:
    """Bake the strengths into a new file at ``target``, or beside it where that name is taken.

    Args:
        strengths: Of the model and of the text encoder.
        block_map: Which block of the model each block of the file is: empty (the same), ``auto`` or a text.

    Raises:
        HeaderError: the file is not a LoRA that can be read.
        BlockStrengthError: ``blocks`` does not parse or does not fit this model.
        BlockMapError: ``block_map`` does not parse or does not fit the file and the model.
        PatchbayError: a layer's format cannot carry its strength, or nothing is left to write.
    """
    keys = MATCHES.model_keys(model, clip)
    numbered = number_lora(LORA_CACHE.load(path, name), keys, block_map)
    lora = numbered.lora
    plan = plan_patches(lora, keys, *strengths, blocks)
    builder = LayerBuilder(lora, plan, keys, model, clip, names)
    layers = [*builder.layers(), *builder.text_encoder_layers(strengths[1], blocks)]
    target, taken = free_path(target, overwrite)
    LORA_CACHE.forget(str(target))
    digest = file_hashes(Path(path), lora.header.data_start)["sha256"]
    source = Source(os.path.basename(name), digest, *strengths, blocks.strip(), keys.summary.architecture)
    baked = write_baked(target, layers, options, source, lora.header.metadata)
    reports = numbered.named(
        layer_reports(measure_plan(plan, keys, model, clip, quick=True), builder.written, baked)
    )
    notes = [taken if baked.path == target else "", numbered.note, *builder.notes()]
    return Saved(baked, save_report(lora, keys, baked, reports, strengths, blocks, notes))
