"""What a rule about a program looks like, and what it looks at.

A rule is one fact about one program's loader, with the place where it was read. The first rule of a program that holds
for a file decides; a program without one for it is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...lora.file import LoraFile, LoraLayer
from ...lora.scale_sources import ADAPTER_METADATA
from ...model.facts import is_text_encoder_name, strip_prefix

YES, PART, NO = "reads it as meant", "reads it, but not as meant", "does not read it"

_ODD_ENDINGS = frozenset({"diff_m", "set_bias", "scaled_oft"})

Condition = Callable[["Traits"], bool]


@dataclass(frozen=True)
class Traits:
    """What of a file decides whether a loader reads it."""

    architecture: str
    """Id of the family, or empty."""
    style: str
    """Id of the spelling of its names, see ``lora/key_style.py``."""
    kinds: frozenset[str]
    """Formats of its layers; an empty text for what is not understood."""
    magnitudes: frozenset[str]
    """Spellings of DoRA magnitudes."""
    alphas: bool
    """Whether it has alpha tensors."""
    adapter_scale: bool
    """Whether a scale other than 1 stands in ``lora_adapter_metadata`` and not in tensors."""
    header_scale: bool
    """Whether one stands in another field, or in the configuration beside the file."""
    outside: bool
    """Whether it changes layers outside of the blocks that diffusers and the model call by different names."""
    endings: frozenset[str]
    """Endings of keys that only some loaders know: ``diff_m``, ``set_bias``, ``scaled_oft``."""
    row_magnitudes: bool
    """Whether a ``dora_scale`` has one value a row of the weight, as LyCORIS and PEFT make it."""
    odd_rotation: bool
    """Whether an OFT or BOFT is bounded or rescaled as LyCORIS and kohya do it, or a BOFT has no alpha."""
    fused: bool
    """Whether a module is called ``to_qkv``, which no diffusers model of 0.42 has."""


@dataclass(frozen=True)
class Rule:
    """One fact about a program."""

    answer: str
    """``YES``, ``PART`` or ``NO``."""
    when: Condition
    why: str
    """Empty where the answer says it all."""
    source: str


@dataclass(frozen=True)
class Program:
    """A program with its rules, in the order in which they are asked."""

    name: str
    version: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Reading:
    """Whether a program reads a file."""

    program: str
    answer: str
    """Empty where no rule says."""
    why: str = ""
    source: str = ""

    def __str__(self) -> str:
        if not self.answer:
            return f"Whether {self.program} reads it is not known: no rule for these names and this model."
        why = f": {self.why}" if self.why else ""
        return f"{self.program} {self.answer}{why} (source: {self.source})."


def traits_of(lora: LoraFile, layers: Iterable[LoraLayer], architecture: str) -> Traits:
    """The traits of a file.

    Args:
        layers: With the scales that their writer meant, see ``match/readings.py``.
    """
    layers = tuple(layers)
    scaled = [x for x in layers if x.format and "alpha" not in x.roles and x.scale != 1.0]
    return Traits(
        architecture,
        lora.style.id,
        frozenset(x.format for x in layers),
        frozenset(x.dora for x in layers if x.dora),
        any("alpha" in x.roles for x in layers),
        any(x.scale_source.startswith(ADAPTER_METADATA) for x in scaled),
        any(not x.scale_source.startswith(ADAPTER_METADATA) for x in scaled),
        any(_is_outside(x.name) for x in layers),
        _ODD_ENDINGS & frozenset(key.rpartition(".")[2] for key in lora.header.tensors),
        any(_has_row_magnitude(lora, x) for x in layers),
        lora.style.id != "native" and any(_is_odd_rotation(x) for x in layers),
        any(x.name.endswith("to_qkv") for x in layers),
    )


def _has_row_magnitude(lora: LoraFile, layer: LoraLayer) -> bool:
    if layer.dora != "dora_scale":
        return False
    shape = lora.header.tensors[layer.roles["dora_scale"]].shape
    return len(shape) < 2 or shape[0] != 1


def _is_odd_rotation(layer: LoraLayer) -> bool:
    if layer.format not in ("oft", "boft"):
        return False
    if layer.format == "boft":
        return bool(layer.alpha) or "alpha" not in layer.roles
    return bool(layer.alpha) or "rescale" in layer.roles


def _is_outside(name: str) -> bool:
    if is_text_encoder_name(name):
        return False
    flat = strip_prefix(name).replace(".", "_")
    if "stream_modulation_" in flat:
        return flat.endswith("linear")
    return flat.startswith(("time_guidance_embed", "time_text_embed", "norm_out", "x_embedder", "context_embedder"))


def style(*ids: str) -> Condition:
    """The names are spelled in one of these ways."""
    return lambda traits: traits.style in ids


def of(*ids: str) -> Condition:
    """The file is for one of these families."""
    return lambda traits: traits.architecture in ids


def kinds_beyond(*formats: str) -> Condition:
    """Some layer has a format other than these."""
    return lambda traits: bool(traits.kinds - set(formats))


def has_kind(*formats: str) -> Condition:
    """Some layer has one of these formats."""
    return lambda traits: bool(traits.kinds & set(formats))


def ends(*names: str) -> Condition:
    """Some key ends in one of these."""
    return lambda traits: bool(traits.endings & set(names))


def both(*conditions: Condition) -> Condition:
    """All of them hold."""
    return lambda traits: all(condition(traits) for condition in conditions)


def no(condition: Condition) -> Condition:
    """It does not hold."""
    return lambda traits: not condition(traits)


def magnitude(*spellings: str) -> Condition:
    """DoRA magnitudes are spelled in one of these ways."""
    return lambda traits: bool(traits.magnitudes & set(spellings))


def read_by(program: Program, traits: Traits) -> Reading:
    """What a program makes of a file, by its first rule that holds."""
    name = f"{program.name} {program.version}".strip()
    for rule in program.rules:
        if rule.when(traits):
            return Reading(name, rule.answer, rule.why, rule.source)
    return Reading(name, "")
