"""Write a baked LoRA: a free name, the metadata brought up to date, the tensors one layer at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import PatchbayError
from ..files.writer import TensorWriter, metadata_size
from ..lora.scale_sources import ADAPTER_METADATA, HEADER_ALPHAS
from ..match.depth import MADE_FOR
from .baking import bake_layer, check_layers
from .layer import BakedLayer, BakeLayer, BakeOptions
from .resize import Resizing

PREFIX = "patchbay."
FORMAT_VERSION = "1"
_MODEL_HASH, _LEGACY_HASH, _SPEC_HASH = "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"
_MAX_HISTORY = 20_000
_MAX_COUNT = 99_999


@dataclass(frozen=True)
class Source:
    """Where a baked file comes from; every field ends up in its metadata."""

    name: str
    """File name without its folder."""
    sha256: str
    strength_model: float = 1.0
    strength_clip: float = 1.0
    blocks: str = ""
    architecture: str = ""
    """Of the model that it was baked for; empty where none was at hand."""


@dataclass(frozen=True)
class BakedFile:
    """What was written."""

    path: Path
    size_bytes: int
    layers: tuple[tuple[BakeLayer, BakedLayer], ...]
    """Without their tensors."""
    notes: tuple[str, ...]
    ranks: tuple[int, ...]


def free_path(path: Path, overwrite: bool) -> tuple[Path, str]:
    """A path that can be written, and a sentence where it is not the one that was asked for.

    An existing file stays, and the new one is numbered as ComfyUI numbers its own: ``name_00001_.safetensors``.
    """
    if not path.exists():
        return path, ""
    if overwrite:
        return path, f"{path.name} was there and is replaced."
    for count in range(1, _MAX_COUNT):
        numbered = path.with_name(f"{path.stem}_{count:05}_{path.suffix}")
        if not numbered.exists():
            return numbered, f"{path.name} was there and stays; the new file is {numbered.name}."
    raise PatchbayError(f"{path.name}: {_MAX_COUNT} files of this name are there already; choose another name.")


def write_baked(
    path: Path,
    layers: list[BakeLayer],
    options: BakeOptions,
    source: Source,
    metadata: Mapping[str, str],
) -> BakedFile:
    """Bake ``layers`` into ``path``, one at a time.

    Args:
        metadata: Of the source file: kept, and corrected where it is no longer true.

    Raises:
        PatchbayError: nothing is left to write, a format cannot carry its strength, or a value does not fit its dtype.
            Nothing is written then.
    """
    if not layers:
        raise PatchbayError(
            "no layer is left to write: each has strength 0 or does not fit this model. Check LoRA says which fit."
        )
    check_layers(layers, options)
    keys = {key for layer in layers for key in _possible_keys(layer)}
    kept, notes = _keep(metadata)
    # The two hashes and the ranks are known at the end only: room for them is left.
    room = metadata_size({**kept, **_provenance(metadata, source, options)}) + 4_000
    done: list[tuple[BakeLayer, BakedLayer]] = []
    ranks: list[int] = []
    alphas: set[float] = set()
    with TensorWriter(path, keys, room) as writer:
        for layer, baked in _baked(layers, options):
            for key, tensor in baked.tensors.items():
                writer.add(key, tensor)
                if key.endswith((".lora_down.weight", ".lora_A.weight", ".lora_A")):
                    ranks.append(int(tensor.shape[0]))
                if key.endswith(".alpha") and tensor.numel() == 1:
                    alphas.add(round(float(tensor), 6))
            light = {role: tensor.to("meta") for role, tensor in layer.tensors.items()}
            done.append((replace(layer, tensors=light, delta=None), replace(baked, tensors={})))
        if any(baked.converted or "rank" in baked.note for _, baked in done):
            notes.extend(_correct_network(kept, ranks, any(baked.converted for _, baked in done)))
        notes.extend(_correct_alpha(kept, alphas))
        kept |= _provenance(metadata, source, options)
        notes.extend(_hashes(kept, metadata, writer.data_hash))
        size = writer.finish(kept, lambda: free_path(path, False)[0])
    if writer.path != path:
        notes.append(
            f"{path.name} could not be replaced because a program has it open (a loaded model still uses it, for "
            f"example); the new file is {writer.path.name}."
        )
    return BakedFile(writer.path, size, tuple(done), tuple(notes), tuple(sorted(set(ranks))))


def _baked(layers: list[BakeLayer], options: BakeOptions) -> Iterator[tuple[BakeLayer, BakedLayer]]:
    for layer in layers:
        yield layer, bake_layer(layer, options)


def _possible_keys(layer: BakeLayer) -> list[str]:
    suffixes = {*layer.suffixes.values(), *layer.factor_suffixes, ".alpha", ".diff", ".diff_b"}
    return [layer.name + suffix for suffix in suffixes] + [f"{layer.name}.{role}.weight" for role in layer.tensors]


# --- metadata -----------------------------------------------------------------------------------------


def _keep(metadata: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The source's metadata without what is certainly untrue now, and what was removed."""
    kept = {key: value for key, value in metadata.items() if not key.startswith(PREFIX) or key == MADE_FOR}
    notes: list[str] = []
    for key in (ADAPTER_METADATA, *HEADER_ALPHAS):
        if kept.pop(key, None) is not None:
            notes.append(f"{key} is removed: its scale is now in the alpha tensors.")
    if kept.pop(_LEGACY_HASH, None) is not None:
        notes.append(f"{_LEGACY_HASH} is removed: it belonged to the source file.")
    return kept, notes


def _hashes(kept: dict[str, str], metadata: Mapping[str, str], data_hash: str) -> list[str]:
    notes: list[str] = []
    if _MODEL_HASH in metadata:
        kept[_MODEL_HASH] = data_hash
        notes.append(f"{_MODEL_HASH} is computed anew.")
    if _SPEC_HASH in metadata:
        kept[_SPEC_HASH] = f"0x{data_hash}"
        notes.append(f"{_SPEC_HASH} is computed anew.")
    return notes


def _correct_network(kept: dict[str, str], ranks: list[int], converted: bool) -> list[str]:
    """kohya's fields about the network, where ranks or formats changed."""
    notes: list[str] = []
    if "ss_network_dim" in kept and ranks:
        kept["ss_network_dim"] = str(ranks[0]) if len(set(ranks)) == 1 else "Dynamic"
        notes.append(f"ss_network_dim is now {kept['ss_network_dim']}.")
    if converted and kept.pop("ss_network_args", None) is not None:
        notes.append("ss_network_args is removed: it describes the source's format.")
    if converted and "ss_network_module" in kept:
        kept["ss_network_module"] = "networks.lora"
        notes.append("ss_network_module is now networks.lora.")
    return notes


def _correct_alpha(kept: dict[str, str], alphas: set[float]) -> list[str]:
    if "ss_network_alpha" not in kept or not alphas:
        return []
    value = f"{next(iter(alphas)):g}" if len(alphas) == 1 else "Dynamic"
    if value == kept["ss_network_alpha"] or _number(kept["ss_network_alpha"]) in alphas and len(alphas) == 1:
        return []
    kept["ss_network_alpha"] = value
    return [f"ss_network_alpha is now {value}."]


def _number(text: str) -> float | None:
    try:
        return round(float(text), 6)
    except ValueError:
        return None


def _provenance(metadata: Mapping[str, str], source: Source, options: BakeOptions) -> dict[str, str]:
    """Our own fields. A file that was baked before carries what was done then as its history."""
    own = {
        "format": FORMAT_VERSION,
        "source": source.name,
        "source_sha256": source.sha256,
        "strength_model": repr(source.strength_model),
        "strength_clip": repr(source.strength_clip),
        "blocks": source.blocks,
        "model": source.architecture,
        "convert": options.convert,
        "dtype": options.dtype,
    }
    if not options.resizing.keeps_all:
        own |= {"rank": str(options.resizing.rank), "energy": repr(options.resizing.energy)}
    before = {key.removeprefix(PREFIX): value for key, value in metadata.items() if key.startswith(PREFIX)}
    if before:
        text = json.dumps(before)
        own["history"] = text if len(text) <= _MAX_HISTORY else "left out: too long"
    return {PREFIX + key: value for key, value in own.items()}


def describe_file(baked: BakedFile) -> str:
    """One line a layer that was changed, with its error; for the command line."""
    lines = [f"{layer.name}: {result.note}" for layer, result in baked.layers if result.note]
    return "\n".join([*lines, *baked.notes])


def make_options(convert: str, rank: int, energy: float, dtype: str) -> BakeOptions:
    """Options from plain values.

    Raises:
        PatchbayError: a value that is not allowed.
    """
    return BakeOptions(convert, Resizing(rank, energy), dtype)


def relative_name(path: Path, root: Path) -> str:
    """A file's name as ComfyUI lists it: below its folder, with the system's separator."""
    return os.path.relpath(path, root)
