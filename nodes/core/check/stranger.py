"""A file that was made for something other than the model at hand: what was seen, and what its layers would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..model.blocks import BlockLayout
from ..model.facts import Facts, is_text_encoder_name
from ..model.identify import ArchitectureMatch
from ..report.report import LayerReport, LayerState


class Stranger(NamedTuple):
    """A file that was made for something other than the model at hand."""

    file: str
    """What it was made for: ``FLUX.1``."""
    model: str
    evidence: tuple[str, ...]
    """What was seen in the file, then in the model."""
    other_size: bool = False
    """The same architecture in another size, so that only the shapes differ."""

    @property
    def warning(self) -> str:
        """One sentence for those who apply the file all the same."""
        what = "Another size" if self.other_size else "Wrong architecture"
        return f"{what}: the file is made for {self.file}, the model is {self.model} ({'; '.join(self.evidence)})."


def describe_stranger(
    facts: Facts, file: ArchitectureMatch, shapes: Mapping[str, tuple[int, ...]], model: ArchitectureMatch
) -> Stranger:
    """What speaks for it that a file is made for another architecture, or for another size of the same.

    Args:
        facts: Of the file.
        file: What it is made for.
        shapes: Of the model's weights.
    """
    file_name, model_name = _plain_name(file), _plain_name(model)
    if file.id != model.id:
        evidence = (*file.evidence[:3], *_beyond(facts, shapes, model_name), *_seen_in_model(model, model_name))
        return Stranger(file_name, model_name, tuple(dict.fromkeys(evidence)))
    evidence = (
        f"its layers have a hidden size of {file.hidden_size}, the model's {model.hidden_size}",
        *_beyond(facts, shapes, model_name),
    )
    return Stranger(file.name, model.name, evidence, other_size=True)


def _plain_name(match: ArchitectureMatch) -> str:
    """A LoRA knows only the highest block it names, so its variant is no more than a guess."""
    return match.name.partition(" (")[0]


def _beyond(facts: Facts, shapes: Mapping[str, tuple[int, ...]], model: str) -> tuple[str, ...]:
    """Blocks that the file names and the model does not have."""
    pairs = {"transformer_blocks": "double_blocks", "single_transformer_blocks": "single_blocks"}
    counts = BlockLayout(shapes).kinds
    sentences: list[str] = []
    for kind, count in facts.blocks.items():
        own = counts.get(kind, counts.get(pairs.get(kind, ""), 0))
        if 0 < own < count:
            sentences.append(f"it names {kind} up to {count - 1}, {model} has {own} of them")
    return tuple(sentences)


def _seen_in_model(match: ArchitectureMatch, model: str) -> tuple[str, ...]:
    return tuple(f"{model}: {sentence}" for sentence in match.evidence[:2])


def explain(layers: Sequence[LayerReport], stranger: Stranger | None) -> tuple[LayerReport, ...]:
    """The layers with the wrong architecture named beside what they would do, which stays what it is.

    A layer that lands stays ``APPLIED``, with a remark; one that does not land because the file is foreign becomes
    ``WRONG_ARCHITECTURE`` and keeps its own reason.
    """
    if stranger is None or stranger.other_size:
        return tuple(layers)
    return tuple(_explain(layer, stranger) for layer in layers)


def _explain(layer: LayerReport, stranger: Stranger) -> LayerReport:
    if is_text_encoder_name(layer.lora_key) or layer.block == "te":
        return layer
    if layer.state is LayerState.APPLIED:
        remark = f"lands only because name and shape happen to be equal: the file is made for {stranger.file}"
        return replace(layer, reason="; ".join(text for text in (layer.reason, remark) if text))
    if layer.state in (LayerState.NO_SUCH_LAYER, LayerState.SHAPE_MISMATCH):
        reason = f"{layer.reason} (the file is made for {stranger.file})"
        return replace(layer, state=LayerState.WRONG_ARCHITECTURE, reason=reason)
    return layer
