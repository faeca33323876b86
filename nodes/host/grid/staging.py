"""A model with one LoRA at one strength, kept while cells share it, and the prompts as its text encoder reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import PatchbayError
from ...core.report.report import LayerState, Level, Report
from ..apply.apply import apply_lora
from ..comfyui.lora_input import lora_file


@dataclass(frozen=True)
class GridModel:
    """One value of the axis ``model``."""

    label: str
    model: Any


@dataclass(frozen=True)
class GridPrompt:
    """One value of the axis ``prompt``: ready conditioning, or a text for the text encoder."""

    label: str
    conditioning: Any = None
    text: str = ""


@dataclass(frozen=True)
class StageKey:
    """What has to be staged for a cell."""

    model: int
    lora: str
    """As ComfyUI lists it; empty for none."""
    strength: float
    blocks: str


@dataclass
class Stage:
    """A patched model."""

    model: Any
    clip: Any
    report: Report | None
    """``None`` without a LoRA."""
    encoded: dict[str, Any] = field(default_factory=dict)

    @property
    def changes_text(self) -> bool:
        """Whether the LoRA changes the text encoder."""
        layers = () if self.report is None or self.clip is None else self.report.layers
        return any(layer.state is LayerState.APPLIED and layer.block.startswith("te") for layer in layers)

    @property
    def note(self) -> str:
        """Why its cells are what they are without the LoRA; empty where it landed."""
        if self.report is None or self.report.level is not Level.ERROR:
            return ""
        return self.report.summary


class Stages:
    """The models of a grid with their LoRAs; holds the last stage and nothing else."""

    def __init__(self, models: Sequence[GridModel], clip: Any, method: str, as_stock: bool, steps: int) -> None:
        self._models, self._clip, self._method, self._steps = models, clip, method, steps
        self._as_stock = as_stock
        self._last: tuple[StageKey, Stage] | None = None
        self._plain_texts: dict[str, Any] = {}
        self.reports: dict[StageKey, Report] = {}
        """What became of each LoRA that was applied."""

    def get(self, key: StageKey) -> Stage:
        """The stage, made where it is not the last one.

        Raises:
            PatchbayError: the LoRA cannot be read or does not apply.
        """
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        self._last = None  # the last patched model goes before the next one comes
        stage = self._make(key)
        self._last = (key, stage)
        return stage

    def _make(self, key: StageKey) -> Stage:
        model = self._models[key.model].model
        if not key.lora:
            return Stage(model, self._clip, None)
        applied = apply_lora(
            lora_file(key.lora), key.lora, model, self._clip, key.strength, key.strength, key.blocks, self._as_stock,
            self._method, self._steps,
        )  # fmt: skip
        self.reports[key] = applied.report
        return Stage(applied.model, applied.clip, applied.report)

    def conditioning(self, stage: Stage, prompt: GridPrompt) -> Any:
        """The prompt for a stage; a text is encoded once, or once a stage where the LoRA changes the text encoder.

        Raises:
            PatchbayError: a text without a text encoder.
        """
        if prompt.conditioning is not None:
            return prompt.conditioning
        if stage.clip is None:
            raise PatchbayError("prompts: a text needs a text encoder. Connect clip, or connect positive instead.")
        known = stage.encoded if stage.changes_text else self._plain_texts
        if prompt.text not in known:
            known[prompt.text] = stage.clip.encode_from_tokens_scheduled(stage.clip.tokenize(prompt.text))
        return known[prompt.text]
