"""Does a LoRA fit a model: one verdict from the fate of its layers, what the file was made for, and what to do.

Pure: who decides which layer lands is ComfyUI's own mapping (``nodes/host``); here its results are weighed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from ..lora.dead import UNUSED
from ..lora.file import LoraFile
from ..lora.file_kinds import made_for
from ..match.matches import NO_CLIP
from ..model.blocks import BlockLayout
from ..model.facts import collect_facts
from ..model.families import family
from ..model.identify import ArchitectureMatch, identify_architecture
from ..report.report import Doubt, LayerReport, LayerState, Level

if TYPE_CHECKING:
    from .stranger import Stranger

RELATIVES = frozenset({frozenset({"flux1", "chroma"}), frozenset({"sdxl", "sdxl_refiner"})})
"""Architectures that share most of their layers in meaning too: a LoRA of one is not foreign to the other."""


class Fit(str, Enum):
    """The verdict on a file and a model."""

    FITS = "fits"
    IN_PART = "fits in part"
    NOT = "does not fit"


class Verdict(NamedTuple):
    """What to tell the user about a file and a model."""

    fit: Fit
    coverage: float
    """Share of the file's strength that lands; share of its layers where ``measured`` is false."""
    measured: bool
    level: Level
    summary: str
    advice: str
    notes: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()
    """Why a file that fits may not do what its maker meant."""

    @property
    def fits(self) -> bool:
        """Whether the file can be used with the model as it is."""
        return self.fit is Fit.FITS


def identify_weights(shapes: Mapping[str, tuple[int, ...]]) -> ArchitectureMatch:
    """The architecture of a model that is at hand, from the shapes of its weights."""
    return identify_architecture(collect_facts(_weight_layers(shapes), whole=True))


def _weight_layers(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, int | None, int | None]]:
    layers: list[tuple[str, int | None, int | None]] = []
    for key, shape in shapes.items():
        name, _, last = key.rpartition(".")
        if last != "bias":
            layers.append((name or key, shape[0] if shape else None, shape[1] if len(shape) > 1 else None))
    return layers


def find_stranger(
    lora: LoraFile, shapes: Mapping[str, tuple[int, ...]], model: ArchitectureMatch | None = None
) -> Stranger | None:
    """Whether the file is made for another architecture or size than a model with these weights, and why.

    Equal names and shapes are no proof of the contrary: attention layers of FLUX.1 fit FLUX.2 Klein 4B to the number.

    Args:
        shapes: Weights of the diffusion model by key, without a text encoder's.
        model: Their architecture, where it is known already.
    """
    facts, file = made_for(lora)
    model = model or identify_weights(shapes)
    if not file.id or not model.id:
        return None
    if file.id != model.id:
        relatives = any(frozenset({other, model.id}) in RELATIVES for other in file.candidates)
        if relatives or model.id in file.candidates or file.id in model.candidates:
            return None
    elif not file.hidden_size or not model.hidden_size or file.hidden_size == model.hidden_size:
        return None
    from .stranger import describe_stranger  # most files are none

    return describe_stranger(facts, file, shapes, model)


def judge(
    layers: Sequence[LayerReport],
    name: str,
    model: ArchitectureMatch | None,
    model_name: str,
    stranger: Stranger | None,
    coverage: float | None,
    doubts: tuple[Doubt, ...] = (),
    hints: tuple[str, ...] = (),
) -> Verdict:
    """The verdict on a file, from the fate of its layers.

    Args:
        layers: Fates at strength 1, as :func:`explain` leaves them.
        model: Architecture of the model; ``None`` where it is not known.
        model_name: What to call the model.
        hints: What the layers that do not land have in common.
        coverage: Share of the file's squared delta norm that lands; ``None`` where that was not measured.
    """
    fates = _fates(layers)
    alive = [state for state in fates.values() if state is not LayerState.DEAD]
    dead = len(fates) - len(alive)
    landing = sum(1 for state in alive if state is LayerState.APPLIED)
    waiting = len({x.lora_key for x in layers if x.state is LayerState.NO_SUCH_LAYER and NO_CLIP in x.reason})
    share = coverage if coverage is not None else (landing / len(alive) if alive else 0.0)
    if stranger is not None or not (landing or (dead and not alive)):
        fit = Fit.NOT
    elif landing + waiting == len(alive):
        fit = Fit.FITS
    else:
        fit = Fit.IN_PART
    advice = _advice(fit, stranger, waiting, model_name, fates, doubts)
    if hints and fit is Fit.IN_PART and LayerState.NOT_UNDERSTOOD not in fates.values():
        advice = hints[0]
    ailing = any(x.state is LayerState.DEAD and not x.reason.startswith(UNUSED) for x in layers)
    troubled = fit is not Fit.FITS or waiting or doubts or ailing
    level = Level.ERROR if fit is Fit.NOT else Level.WARNING if troubled else Level.OK
    summary = _summary(fit, name, model_name, stranger, landing, len(alive) or dead, coverage, bool(doubts))
    notes = (*(hint for hint in hints if hint != advice), *_notes(layers, stranger, model, coverage, waiting))
    return Verdict(fit, share, coverage is not None, level, summary, advice, notes, doubts)


def _fates(layers: Sequence[LayerReport]) -> dict[str, LayerState]:
    """State of each tensor group; one that lands in several places lands if any of them does."""
    fates: dict[str, LayerState] = {}
    for layer in layers:
        if fates.get(layer.lora_key) is not LayerState.APPLIED:
            fates[layer.lora_key] = layer.state
    return fates


def _summary(
    fit: Fit,
    name: str,
    model: str,
    stranger: Stranger | None,
    landing: int,
    total: int,
    coverage: float | None,
    doubtful: bool = False,
) -> str:
    if not total:
        return f"{name} does not fit: it contains no layer that changes anything."
    strength = "" if coverage is None else f", {coverage:.1%} of its squared norm,"
    lands = f"{landing} of its {total} layers{strength}"
    if fit is Fit.FITS and doubtful:
        if not landing:
            return f"{name} fits {model}, but all of its {total} layers are dead: it changes nothing."
        return f"{name} fits {model}, but not without doubt: {lands} land."
    if fit is Fit.FITS:
        if landing == total:
            return f"{name} fits {model}: all {total} layers land."
        return f"{name} fits {model}: every layer for the model lands ({lands} with those of the text encoder)."
    if stranger is not None:
        would = f"{lands} would land all the same" if landing else "nothing of it lands"
        return f"{name} does not fit {model}: it is made for {stranger.file}, and {would}."
    if fit is Fit.NOT:
        return f"{name} does not fit {model}: none of its {total} layers lands."
    return f"{name} fits {model} in part: {lands} land."


def _advice(
    fit: Fit,
    stranger: Stranger | None,
    waiting: int,
    model: str,
    fates: Mapping[str, LayerState],
    doubts: Sequence[Doubt] = (),
) -> str:
    if stranger is not None:
        return f"Use it with {stranger.file}, or look for a version of this LoRA made for {model}."
    if not fates:
        return "Choose another file: this is not a LoRA that this pack knows."
    if LayerState.NOT_UNDERSTOOD in fates.values():
        return "Download the file again or ask its author: some of its layers are incomplete or in an unknown format."
    if doubts and fit is Fit.FITS:
        return "Read the doubts before you use it."
    if waiting and fit is not Fit.IN_PART:
        return "Connect a CLIP if its text-encoder part is to be used too."
    if fit is Fit.NOT:
        return f"Look for a version of this LoRA made for {model}; the reasons are listed with the layers."
    if fit is Fit.IN_PART:
        return "Use it if the layers that fit are enough; the others are listed with their reasons."
    return "Use it as it is."


def _notes(
    layers: Sequence[LayerReport],
    stranger: Stranger | None,
    model: ArchitectureMatch | None,
    coverage: float | None,
    waiting: int,
) -> list[str]:
    notes: list[str] = []
    if stranger is not None:
        notes.extend(f"Made for {stranger.file}: {sentence}." for sentence in stranger.evidence)
    if waiting:
        notes.append(f"{waiting} layers are for a text encoder: {NO_CLIP}. Connect CLIP to use them.")
    dead = len({layer.lora_key for layer in layers if layer.state is LayerState.DEAD})
    if dead:
        notes.append(f"{dead} layers are dead (all zero): they change nothing in any model.")
    if coverage is None and layers:
        reason = next((x.not_measured for x in layers if x.delta_norm is None and x.not_measured), "")
        notes.append(
            f"The coverage is by number of layers, because a layer was not measured{f' ({reason})' if reason else ''}."
        )
    stock = [x for x in layers if x.stock is not None]
    less = [x for x in stock if x.state is LayerState.APPLIED and x.stock is not LayerState.APPLIED]
    if less:
        notes.append(
            f"ComfyUI's own LoRA loader would leave out {len(less)} of the layers that Apply LoRA (Patchbay) applies: "
            f"{less[0].stock_reason}."
        )
    more = [x for x in stock if x.state is not LayerState.APPLIED and x.stock is LayerState.APPLIED]
    if more:
        notes.append(
            f"ComfyUI's own LoRA loader would apply {len(more)} layers that Apply LoRA (Patchbay) leaves out: "
            f"{more[0].stock_reason or more[0].reason}."
        )
    wrong = [x for x in stock if x.state is LayerState.APPLIED and x.stock is LayerState.APPLIED and x.stock_reason]
    if wrong:
        notes.append(f"ComfyUI's own LoRA loader would apply {len(wrong)} layers differently: {wrong[0].stock_reason}.")
    sampling = sampling_advice(model)
    return [*notes, sampling] if sampling else notes


def sampling_advice(model: ArchitectureMatch | None) -> str:
    """Steps and CFG for a model, where they are known; empty otherwise."""
    known = family(model.id) if model is not None and model.certainty != "ambiguous" else None
    if model is None or known is None:
        return ""
    start, advice = next(((s, a) for s, a in known.advice.items() if model.name.startswith(s)), ("", ""))
    if isinstance(advice, str):
        return advice
    name = start or known.name
    if advice.guidance:
        return f"{name} needs about {advice.steps} steps with guidance {advice.guidance:g}."
    return f"{name} needs about {advice.steps} steps at CFG {advice.cfg:g}; a distilled version needs few, at CFG 1."


def untouched_blocks(layers: Sequence[LayerReport], layout: BlockLayout) -> str:
    """A sentence where the file changes only some of the model's blocks; empty where it changes all or none."""
    touched = {layer.block for layer in layers if layer.state in (LayerState.APPLIED, LayerState.SKIPPED)}
    blocks = [str(block) for block in layout.blocks]
    changed = [block for block in blocks if block in touched]
    if not changed or len(changed) == len(blocks):
        return ""
    return f"The file changes {len(changed)} of the model's {len(blocks)} blocks: {_ranges(changed)}."


def _ranges(blocks: Sequence[str]) -> str:
    parts: list[tuple[str, int, int]] = []
    for block in blocks:
        kind, _, text = block.rpartition(".")
        index = int(text)
        if parts and parts[-1][0] == kind and parts[-1][2] == index - 1:
            parts[-1] = (kind, parts[-1][1], index)
        else:
            parts.append((kind, index, index))
    return ", ".join(f"{kind}.{first}" if first == last else f"{kind}.{first}-{last}" for kind, first, last in parts)
