"""What a verification says, as parts of a report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ..model.blocks import OTHER
from ..report.report import Level
from ..report.workbench import BlockStrength, FoundLora
from .verify import Verdict, Verification, VerifiedLayer

_SHOWN = 8


def found_loras(found: Verification, block_of: Callable[[str], str]) -> tuple[FoundLora, ...]:
    """Each LoRA with its verdict and its strength by block.

    Args:
        block_of: The block of a weight by its full key.
    """
    return tuple(_found(found, number, block_of) for number in range(len(found.names)))


def _found(found: Verification, number: int, block_of: Callable[[str], str]) -> FoundLora:
    own = [layer for layer in found.layers if layer.strengths[number] is not None]
    told = found.verdicts[number] is not Verdict.CANNOT_TELL and found.strengths
    absent = found.verdicts[number] is Verdict.NOT
    groups: dict[str, list[VerifiedLayer]] = {}
    for layer in found.layers:
        groups.setdefault(block_of(layer.key), []).append(layer)
    return FoundLora(
        name=found.names[number],
        verdict=found.verdicts[number].value,
        reason=found.reasons[number],
        strength=found.strengths[number] if told else None,
        error=found.errors[number] if told else None,
        layers=len(own),
        exact=0 if absent else sum(layer.replay is not None and layer.replay.exact for layer in own),
        blocks=tuple(
            BlockStrength(block, _pooled(its, number), _left(its))
            for block, its in sorted(groups.items(), key=lambda group: group[0] == OTHER)
        ),
    )


def _pooled(layers: Sequence[VerifiedLayer], number: int) -> float | None:
    """``sum |D|^2 s / sum |D|^2``: the strength of layers that are solved one by one, taken together."""
    weights = [(layer.sizes[number] ** 2, layer.strengths[number]) for layer in layers]
    total = math.fsum(weight for weight, strength in weights if strength is not None)
    return math.fsum(w * s for w, s in weights if s is not None) / total if total else None


def _left(layers: Sequence[VerifiedLayer]) -> float | None:
    whole = math.fsum(layer.difference**2 for layer in layers)
    return math.sqrt(math.fsum(layer.rest**2 for layer in layers) / whole) if whole else None


def found_level(loras: Sequence[FoundLora]) -> Level:
    """A warning where a question is left open."""
    return Level.WARNING if any(lora.verdict in ("partly", "cannot tell") for lora in loras) else Level.OK


def found_sentences(loras: Sequence[FoundLora]) -> Iterator[str]:
    """The answer about each LoRA, those that are there first."""
    for lora in loras:
        if lora.strength is not None and lora.verdict != Verdict.NOT.value:
            strength = f"{lora.strength:.3g}"
            part = lora.verdict == Verdict.PARTLY.value
            yield f"In part, at strength {strength}: {lora.name}." if part else f"At strength {strength}: {lora.name}."
    for verdict, words in ((Verdict.NOT, "Not in it"), (Verdict.CANNOT_TELL, "Cannot be told")):
        names = [lora.name for lora in loras if lora.verdict == verdict.value]
        if names:
            yield f"{words}: {', '.join(names)}."


def found_notes(found: Verification) -> Iterator[str]:
    """What the figures rest on."""
    changed = [layer for layer in found.layers if layer.difference > 0]
    if changed:
        total = math.fsum(layer.difference**2 for layer in changed)
        rest = math.sqrt(math.fsum(layer.rest**2 for layer in changed) / total)
        floor = math.sqrt(math.fsum(layer.rounding**2 for layer in changed) / total)
        yield (
            f"{len(changed)} of {len(found.layers)} compared weights differ from the base; the LoRAs leave {rest:.2%} "
            f"of the difference, rounding alone would leave {floor:.2%}."
        )
    elif found.layers:
        yield "None of the compared weights differs from the base."
    exact = Counter(layer.replay.way for layer in found.layers if layer.replay is not None and layer.replay.exact)
    for way, count in exact.most_common():
        yield f"{count} of {len(found.layers)} weights are the same byte for byte when merged again: {way}."
    if found.elsewhere:
        yield f"Changed, but by none of these LoRAs: {_names(found.elsewhere)}."
    for line in found.not_compared[:_SHOWN]:
        yield f"Not compared: {line}."
    if len(found.not_compared) > _SHOWN:
        yield f"{len(found.not_compared) - _SHOWN} more layers are not compared."


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
