"""A file as a report: what it is, what it was made for, and what each of its layers is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..files.elsewhere.source import Source
from ..files.hashes import file_hashes
from ..files.header import read_header
from ..files.metadata import Training, model_provenance, read_training
from ..files.storage import read_quantisation
from ..files.tensors import Header
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..lora.file_kinds import Identification, identify_lora, identify_model, looks_like_lora
from ..lora.layer_norms import LayerStrength, load_layer, measure_layer
from ..lora.places import place_layer
from ..model.blocks import BlockLayout
from ..model.facts import strip_prefix
from ..model.identify import ArchitectureMatch
from ..report.report import BlockGroup, LayerReport, LayerState, Level, LoraSummary, ModelSummary, Report
from .readers.programs import which_read

_MAX_FIELDS = 300
_MAX_VALUE = 2_000
_MAX_BLOCK_KINDS = 40
_CHECKPOINT_PREFIX = "model.diffusion_model."


def inspect_file(
    path: str | os.PathLike[str] | Source, hashes: bool = False, tensors: bool = False, comfyui: str = ""
) -> Report:
    """What a model or LoRA file is, from its header.

    Args:
        path: Of a file elsewhere the source, whose header alone is read.
        hashes: Also compute the hashes under which hubs know the file; reads it whole.
        tensors: Also measure the norm of every layer of a LoRA; loads its tensors one layer at a time.
        comfyui: Version of the ComfyUI that is installed, for what it reads; empty outside of ComfyUI.

    Raises:
        HeaderError: the file is no model, is cut off or contradicts itself; one sentence that says so.
        OSError: the file cannot be opened.
    """
    header = read_header(path)
    computed = file_hashes(header.path, header.data_start) if hashes and header.path is not None else {}
    if looks_like_lora(header):
        return inspect_lora(read_lora(header), computed, tensors, comfyui)
    return inspect_model(header, computed)


def inspect_lora(
    lora: LoraFile, hashes: dict[str, str] | None = None, tensors: bool = False, comfyui: str = ""
) -> Report:
    """The report on a LoRA file that is already read."""
    header = lora.header
    identified = identify_lora(lora)
    training = read_training(header.metadata)
    strengths = _measure(lora) if tensors else {}
    architecture = identified.architecture
    arch_id = architecture.id if architecture else ""
    layers = tuple(_layer_report(layer, strengths.get(i), arch_id) for i, layer in enumerate(lora.layers))
    bad = [layer for layer in lora.layers if not layer.format]
    dead = sum(1 for layer in layers if layer.state is LayerState.DEAD)
    summary = LoraSummary(
        name=header.name,
        size_bytes=header.size_bytes,
        architecture=_architecture_text(identified),
        key_style=lora.style.label,
        writer=str(lora.writer),
        formats=lora.formats,
        ranks=lora.ranks,
        base_model=training.base_model[:300],
        trigger_words=training.trigger_words,
        metadata=_metadata(training, hashes or {}),
    )
    return Report(
        kind="inspect",
        title=f"{header.name}: LoRA",
        summary=_lora_sentence(lora, identified, len(bad), dead),
        level=Level.WARNING if bad or dead or not lora.layers else Level.OK,
        lora=summary,
        layers=layers,
        notes=(
            *_evidence(identified),
            *lora.notes,
            *_lora_notes(lora),
            *(str(reading) for reading in which_read(lora, _sure(architecture), comfyui)),
            *_hash_notes(header, hashes or {}),
        ),
    )


def inspect_model(header: Header, hashes: dict[str, str] | None = None) -> Report:
    """The report on any other file, by its header."""
    identified = identify_model(header)
    training = read_training(header.metadata)
    quantisation = read_quantisation(header)
    architecture = identified.architecture
    name = architecture.name if architecture else identified.kind_name
    prefix = _CHECKPOINT_PREFIX if any(key.startswith(_CHECKPOINT_PREFIX) for key in header.tensors) else ""
    keys = [key.removeprefix(prefix) for key in header.tensors if key.startswith(prefix)]
    kinds = BlockLayout(keys).kinds if len(keys) <= 100_000 else {}
    model = ModelSummary(
        architecture=f"{name}, {identified.detail}" if identified.detail else name,
        model_class="",
        blocks=tuple(BlockGroup(k, 0, n) for k, n in list(kinds.items())[:_MAX_BLOCK_KINDS]),
        weight_count=len(header.tensors),
        parameter_count=quantisation.parameters,
        dtype=str(quantisation),
        hidden_size=architecture.hidden_size if architecture else None,
        evidence=architecture.evidence if architecture else (),
    )
    known = identified.kind != "unknown"
    return Report(
        kind="inspect",
        title=f"{header.name}: {identified.kind_name}",
        summary=_model_sentence(identified, header, str(quantisation)),
        level=Level.OK if known else Level.WARNING,
        model=model,
        notes=(
            *_model_provenance(header, name),
            *_quantisation_notes(quantisation.whole),
            *(f"{key}: {value}" for key, value in _metadata(training, hashes or {}).items()),
            *_hash_notes(header, hashes or {}),
        ),
    )


def _model_provenance(header: Header, architecture: str) -> Iterator[str]:
    found = model_provenance(header.metadata, header.name, architecture)
    if found.kind:
        yield f"Base or distilled: {found.kind} ({found.certainty}: {found.evidence})."
    elif found.evidence:
        yield f"Base or distilled: not known: {found.evidence}."


@contextmanager
def _opened(header: Header) -> Iterator[Any]:
    """The file's tensors, opened once; ``None`` where they are loaded already or the file cannot be opened."""
    if header.loaded is not None or header.path is None or header.container != "safetensors":
        yield None
        return
    from safetensors import safe_open

    with safe_open(header.path, "pt") as file:
        yield file


def _measure(lora: LoraFile) -> dict[int, LayerStrength]:
    with _opened(lora.header) as handle:
        return {
            index: measure_layer(layer, load_layer(lora.header, layer, handle) if layer.adapter else {})
            for index, layer in enumerate(lora.layers)
        }


def _layer_report(layer: LoraLayer, strength: LayerStrength | None, architecture: str) -> LayerReport:
    block, path = place_layer(layer.name, architecture)
    if not layer.format:
        state, reason = LayerState.NOT_UNDERSTOOD, layer.note
    elif strength is not None and strength.dead:
        state, reason = LayerState.DEAD, "a factor is all zero, so it changes nothing"
    else:
        state, reason = LayerState.IN_FILE, layer.note
    return LayerReport(
        state=state,
        reason=reason,
        lora_key=layer.name,
        block=block,
        layer=path if layer.parameter == "weight" else f"{path}.{layer.parameter}",
        format=f"{layer.format} + DoRA" if layer.dora else layer.format,
        rank=layer.rank,
        alpha=layer.alpha,
        scale=layer.scale if layer.format else None,
        scale_source=layer.scale_source,
        strength=1.0,
        delta_norm=strength.delta_norm if strength else None,
        spectral_norm=strength.spectral_norm if strength else None,
        not_measured=strength.not_measured if strength else "only the header was read",
    )


def _sure(match: ArchitectureMatch | None) -> str:
    """The id of an architecture that is more than one of several."""
    return match.id if match is not None and match.certainty != "ambiguous" else ""


def _architecture_text(identified: Identification) -> str:
    match = identified.architecture
    return f"{match.name} ({match.certainty})" if match else ""


def _evidence(identified: Identification) -> tuple[str, ...]:
    match = identified.architecture
    return tuple(f"Architecture: {sentence}." for sentence in match.evidence) if match else ()


def _lora_sentence(lora: LoraFile, identified: Identification, bad: int, dead: int) -> str:
    formats = ", ".join(f"{count} {name}" for name, count in lora.formats.items())
    match = identified.architecture
    target = f" for {match.name}" if match else ""
    trouble = f" {bad} of its layers are not understood." if bad else ""
    trouble += f" {dead} are dead (all zero)." if dead else ""
    count = len(lora.layers)
    return f"A LoRA{target} with {count} {'layer' if count == 1 else 'layers'} ({formats})." + trouble


def _model_sentence(identified: Identification, header: Header, dtype: str) -> str:
    match = identified.architecture
    kind = identified.kind_name[0].upper() + identified.kind_name[1:]
    what = f": {match.name} ({match.certainty})" if match else ""
    detail = f", {identified.detail}" if identified.detail else ""
    stored = f", stored as {dtype}" if dtype else ""
    return f"{kind}{what}{detail}, {len(header.tensors)} tensors{stored}."


def _metadata(training: Training, hashes: dict[str, str]) -> dict[str, str]:
    """Explained fields, then hashes, then everything else as it is, cut to a bearable size."""
    fields = {**training.facts(), **hashes}
    for key, value in training.leftovers.items():
        if len(fields) >= _MAX_FIELDS:
            fields["..."] = f"{len(training.leftovers)} more fields in all"
            break
        fields.setdefault(key[:200], value)
    return {k: v if len(v) <= _MAX_VALUE else f"{v[:_MAX_VALUE]}... ({len(v)} characters)" for k, v in fields.items()}


def _lora_notes(lora: LoraFile) -> Iterator[str]:
    sources = Counter(layer.scale_source for layer in lora.layers if layer.format and layer.scale_source)
    if sources:
        yield "Scale from: " + ", ".join(f"{source} ({count} layers)" for source, count in sources.most_common(8)) + "."
    if lora.other_keys:
        shown = ", ".join(key[:80] for key in lora.other_keys[:5])
        yield f"{len(lora.other_keys)} tensors belong to no adapter: {shown}."
    if any(layer.dora == "lora_magnitude_vector" or layer.dora == "magnitude" for layer in lora.layers):
        yield "DoRA magnitudes are spelled in a way that ComfyUI's own loader ignores."


def _quantisation_notes(whole: tuple[str, ...]) -> Iterator[str]:
    if whole:
        layers = ", ".join(strip_prefix(key)[:80] for key in whole[:8])
        more = f" and {len(whole) - 8} more" if len(whole) > 8 else ""
        yield f"{len(whole)} matrices are not quantised: {layers}{more}."


def _hash_notes(header: Header, hashes: dict[str, str]) -> Iterator[str]:
    for stated, computed in (("sshs_model_hash", "sshs_model_hash"), ("modelspec.hash_sha256", "sshs_model_hash")):
        value = header.metadata.get(stated, "").removeprefix("0x").lower()
        if value and computed in hashes:
            verdict = "matches the file" if value == hashes[computed] else "does not match: the tensors were changed"
            yield f"{stated} of the metadata {verdict}."
