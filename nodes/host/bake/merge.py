"""Merge the LoRAs of a stack into one file that does at strength 1 what they do one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.bake.file import free_path
from ...core.bake.layer import BakeOptions
from ...core.bake.merge import MergedFile, write_merged
from ...core.bake.merge_plan import MergePlan, MergeSource, plan_merge
from ...core.errors import PatchbayError
from ...core.report.report import LayerReport, LayerState, Level, Report
from ...core.report.text import count_text
from ...core.strengths.stack import StackEntry, read_stack
from ..apply.lora_cache import LORA_CACHE
from ..apply.plan import MATCHES
from ..comfyui.model_keys import ModelKeys
from ..inspect.stack_files import entry_file, merge_model

_MOST_NOTES = 8


@dataclass(frozen=True)
class Merged:
    """The file, and what became of every layer."""

    file: MergedFile
    report: Report


def merge_stack(
    stack: Any, model: Any, blocks: str, options: BakeOptions, target: Path, overwrite: bool = False
) -> Merged:
    """Write the LoRAs of ``stack`` as one file at ``target``, or beside it where that name is taken.

    Args:
        blocks: Block strengths for every LoRA; they come after those that an entry brings along.

    Raises:
        LoraStackError: the stack holds what is not an entry, or names a file that is not there.
        PatchbayError: the files are not for this model, or a layer cannot be merged; nothing is written then.
    """
    entries = read_stack(stack)
    if not entries:
        raise PatchbayError("lora_stack: it is empty; put the LoRAs that are to be merged on it.")
    sources = [_source(entry, blocks, target, overwrite) for entry in entries]
    keys = MATCHES.model_keys(model, None)
    merging = merge_model(keys, model)
    plan = plan_merge(sources, merging)
    target, taken = free_path(target, overwrite)
    LORA_CACHE.forget(str(target))
    written = write_merged(target, plan, sources, options, merging)
    notes = [taken if written.path == target else "", *written.notes]
    return Merged(written, _report(written, plan, sources, keys, blocks, notes))


def _source(entry: StackEntry, blocks: str, target: Path, overwrite: bool) -> MergeSource:
    path, header = entry_file(entry)
    if overwrite and target.exists() and target.samefile(path):
        raise PatchbayError(f"file_name: {target.name} is one of the LoRAs that are merged. Choose another name.")
    own = "\n".join(part for part in (entry.blocks, blocks.strip()) if part)
    return MergeSource(header, entry[1], entry[2], own)


def _report(
    written: MergedFile, plan: MergePlan, sources: list[MergeSource], keys: ModelKeys, blocks: str, notes: list[str]
) -> Report:
    layers = []
    for blend, layer in written.layers:
        place = keys.layout.place(blend.model_key) if blend.model_key else None
        error = f", error {layer.error:.2%}" if layer.error else ""
        layers.append(
            LayerReport(
                LayerState.APPLIED,
                f"{_files(len(blend.parts))}: {layer.how}{error}",
                blend.name,
                blend.model_key,
                place.address if place is not None else "te",
                place.layer if place is not None else blend.name,
                blend.offset,
                "lora" if layer.rank else blend.parts[0].layer.format,
                layer.rank,
                strength=1.0,
                delta_norm=layer.norm,
                shape=blend.shape,
            )  # fmt: skip
        )
    summary = f"{count_text(len(sources), 'LoRA')} merged into {written.path.name}: {len(layers)} layers"
    summary += f", {len(plan.left_out)} left out" if plan.left_out else ""
    summary += f"; error in all {written.error:.2%}." if written.error else "; exact."
    said = [note for note in notes if note]
    said.append(f"Load {written.path.name} at strength 1: the strengths are in it.")
    said += [f"Left out: {line}." for line in plan.left_out[:_MOST_NOTES]]
    if len(plan.left_out) > _MOST_NOTES:
        said.append(f"{len(plan.left_out) - _MOST_NOTES} more layers are left out.")
    return Report(
        "save", f"{written.path.name} from {_files(len(sources))}", summary,
        Level.WARNING if plan.left_out else Level.OK, keys.summary, blocks=blocks.strip(), layers=tuple(layers),
        notes=tuple(said),
    )  # fmt: skip


def _files(count: int) -> str:
    return "one file" if count == 1 else f"{count} files"
