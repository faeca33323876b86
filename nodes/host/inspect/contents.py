"""Which LoRAs a loaded model holds, and at which strengths: against the model that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import comfy.lora
import comfy.model_management
import comfy.utils
import torch

from ...core.bake.merge_plan import MergeSource
from ...core.compare.found import found_level, found_loras, found_notes, found_sentences
from ...core.compare.verify import Verification, Weights, verify_checkpoint
from ...core.errors import PatchbayError
from ...core.model.blocks import MODEL_PREFIX
from ...core.report.report import Level, Report
from ...core.strengths.stack import StackEntry, read_stack
from ..apply.plan import MATCHES
from ..comfyui.model_keys import ModelKeys
from ..comfyui.stored_as import stored_as
from ..norms.patches import parameter, read_weight
from .file_weights import open_weights
from .stack_files import entry_file, merge_model

NO_BASE = (
    "The LoRAs were not looked for: that needs the model that this one was made from. Connect it as model_b, or choose "
    "its file as file_b."
)


class LiveWeights:
    """The weights of a loaded model with what is patched on them, one at a time, on the CPU."""

    def __init__(self, model: Any, keys: ModelKeys, shows_progress: bool = False) -> None:
        """
        Args:
            shows_progress: Whether the first reading of a weight moves ComfyUI's progress bar.
        """
        self._model = model
        named = {f"{MODEL_PREFIX}{key}": shape for key, shape in keys.own_shapes.items()}
        self._shapes = {key: shape for key, shape in named.items() if not stored_as(parameter(model, key))}
        self._bar = comfy.utils.ProgressBar(len(self._shapes)) if shows_progress else None
        self._unread = set(self._shapes)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of every weight that is not quantised."""
        return self._shapes

    def read(self, key: str) -> torch.Tensor | None:
        """A weight in its own dtype; ``None`` where it is quantised or cannot be read."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self._bar is not None and key in self._unread:
            self._unread.discard(key)
            self._bar.update(1)
        return patched_weight(self._model, key) if key in self._shapes else None


def patched_weight(model: Any, key: str) -> torch.Tensor | None:
    """A weight with its patches, added in float32 and rounded once to its own dtype; a new tensor on the CPU.

    The patches are worked out by ComfyUI itself; hooks and layers alongside the weights are none of it.
    """
    weight = read_weight(model, key)
    if weight is None:
        return None
    entries = model.patches.get(key)
    if not entries:
        return weight.cpu()
    start = weight.to(device="cpu", dtype=torch.float32, copy=True)
    return comfy.lora.calculate_weight(entries, start, key).to(weight.dtype)


def add_contents(report: Report, model: Any, model_b: Any, file_b: str, stack: Any) -> Report:
    """The report on a model with what became of the LoRAs of ``stack`` that were looked for in it.

    Args:
        model_b: The model that it was made from, or ``None``.
        file_b: Path of that model's file, read one weight at a time, where ``model_b`` is ``None``.

    Raises:
        LoraStackError: the stack holds what is not an entry, or names a file that is not there.
        PatchbayError: a LoRA is not for this model, or the file cannot be read.
    """
    entries = read_stack(stack)
    if not entries:
        return report
    keys = MATCHES.model_keys(model, None)
    if model_b is not None:
        found = _find(model, keys, LiveWeights(model_b, MATCHES.model_keys(model_b, None)), entries)
    elif file_b:
        with open_weights(file_b) as base:
            found = _find(model, keys, base, entries)
    else:
        return replace(report, level=Level.WARNING, notes=(*report.notes, NO_BASE))
    loras = found_loras(found, lambda key: keys.layout.place(key).address)
    said = " ".join(found_sentences(loras))
    return replace(
        report, summary=f"{said} {report.summary}", level=found_level(loras), found=loras,
        title=f"{keys.summary.architecture} and what is inside it", notes=(*found_notes(found), *report.notes),
    )  # fmt: skip


def _find(model: Any, keys: ModelKeys, base: Weights, entries: tuple[StackEntry, ...]) -> Verification:
    # The strengths are what is looked for, so those of the entries do not count; their block strengths do.
    sources = [MergeSource(entry_file(entry)[1], blocks=entry.blocks) for entry in entries]
    try:
        return verify_checkpoint(LiveWeights(model, keys, True), base, sources, merge_model(keys, model))
    except PatchbayError as error:
        raise PatchbayError(f"lora_stack: {error}") from error
