"""A LoRA with its blocks renumbered for the model at hand, in memory; and what the report says of that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from ...core.match.depth import AUTO, bound_map, known_map
from ...core.match.renumbered import NO_COUNTERPART, Renumbered, renumber_file
from ...core.model.block_map import BlockMap, parse_block_map
from ...core.model.families import family
from ...core.report.report import LayerReport, LayerState
from ..comfyui.model_keys import ModelKeys
from .lora_cache import LoadedLora


@dataclass(frozen=True)
class NumberedLora:
    """A file under the block numbers of a model."""

    lora: LoadedLora
    renumbered: Renumbered | None = None
    """``None`` where nothing was renumbered."""
    note: str = ""

    def left_out(self) -> tuple[LayerReport, ...]:
        """The layers whose block has no counterpart, for the report."""
        layers = self.renumbered.left_out if self.renumbered is not None else ()
        return tuple(
            LayerReport(
                state=LayerState.NO_SUCH_LAYER, reason=NO_COUNTERPART, lora_key=layer.name, format=layer.format,
                rank=layer.rank, alpha=layer.alpha, scale=layer.scale, scale_source=layer.scale_source,
                owner=self.lora.name,
            )
            for layer in layers
        )  # fmt: skip

    def named(self, layers: Iterable[LayerReport]) -> tuple[LayerReport, ...]:
        """The layers under their names in the file, each with the step that it made."""
        renumbered = self.renumbered
        if renumbered is None:
            return tuple(layers)
        return (*(_named(layer, renumbered) for layer in layers), *self.left_out())


def _named(layer: LayerReport, renumbered: Renumbered) -> LayerReport:
    step = renumbered.described(layer.lora_key)
    if not step:
        return layer
    reason = "; ".join(text for text in (step, layer.reason) if text)
    return replace(layer, lora_key=renumbered.names[layer.lora_key], reason=reason)


def check_map_text(text: str) -> None:
    """Refuse a ``block_map`` that no model could make sense of.

    Raises:
        BlockMapError: it is neither empty nor ``auto`` and does not parse.
    """
    if text.strip() and text.strip().lower() != AUTO:
        parse_block_map(text)


def number_lora(lora: LoadedLora, keys: ModelKeys, text: str) -> NumberedLora:
    """The file as ``block_map`` wants it: as it is, by the published map, or by the text.

    Raises:
        BlockMapError: the text does not parse, does not fit the model or the file, or nothing is published.
    """
    text = text.strip()
    if not text:
        return NumberedLora(lora)
    known, counts = family(keys.architecture.id), keys.layout.kinds
    automatic = text.lower() == AUTO
    block_map = known_map(lora.file, counts, known) if automatic else bound_map(parse_block_map(text), counts, known)
    if not block_map.moves:
        return NumberedLora(lora, note="Block map: nothing to renumber, the file is numbered for this model already.")
    source = next((x.source for x in known.insertions if x.inserted), "") if automatic and known is not None else ""
    note = f"Block map: {block_map}" + (f" (published: {source})." if source else ".")
    renumbered, loaded = _renumbered(lora, block_map, keys)
    return NumberedLora(loaded, renumbered, note)


def _renumbered(lora: LoadedLora, block_map: BlockMap, keys: ModelKeys) -> tuple[Renumbered, LoadedLora]:
    """One object for one file and map, so that its patches for a model are made once."""
    text = str(block_map)
    known = lora.renumbered.get(text)
    if known is None:
        made = renumber_file(lora.file, block_map, family(keys.architecture.id))
        tensors = {new: lora.tensors[old] for new, old in made.keys.items() if old in lora.tensors}
        tensors |= {key: torch.tensor(value) for key, value in made.alphas.items()}
        loaded = LoadedLora(lora.name, lora.key, made.file.header, made.file, tensors)
        known = lora.renumbered[text] = (made, loaded)
    return known
