"""Write a LoRA with its blocks renumbered: every tensor bit for bit, under other names."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ..check.model_file import ModelFile, model_tensors
from ..errors import BlockMapError, HeaderError
from ..files.header import read_header
from ..files.numbers import NumberReader
from ..files.tensors import Header, TensorInfo
from ..files.writer import TensorWriter, metadata_size
from ..lora.file import LoraFile
from ..lora.file_kinds import identify_lora
from ..match.alignment import MeasuredMap, Sample, measure_map, sample_runs
from ..match.depth import AUTO, bound_map, container_names, find_number, known_map
from ..match.renumbered import Renumbered
from ..model.block_map import BlockMap, parse_block_map
from ..model.families import family as family_of
from ..model.family import Family

_COPY_BYTES = 1 << 24
_HASH_FIELDS = ("sshs_model_hash", "modelspec.hash_sha256")
_LEGACY_HASH = "sshs_legacy_hash"
_NO_LIMIT = 10_000


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    path: Path
    size_bytes: int
    notes: tuple[str, ...]


def file_family(lora: LoraFile, model: ModelFile | None = None) -> Family | None:
    """The family of the model at hand, or of the file where there is none."""
    if model is not None:
        return family_of(model.checked.match.id)
    found = identify_lora(lora).architecture
    return family_of(found.id) if found is not None else None


def choose_map(text: str, lora: LoraFile, model: ModelFile | None) -> BlockMap:
    """The map that a text means for a file; ``auto`` or an empty one: what is published.

    Raises:
        BlockMapError: it does not parse, does not fit the model, or nothing is published.
    """
    family = file_family(lora, model)
    if text.strip().lower() not in ("", AUTO):
        room = model.checked.layout.kinds if model is not None else _room(lora, family)
        return bound_map(parse_block_map(text), room, family)
    if model is not None:
        return known_map(lora, model.checked.layout.kinds, family)
    if family is None or not family.insertions:
        raise BlockMapError(
            f"{lora.header.name}: no block map is published for its model. Give --map, --from-model with --to-model, "
            "or --model."
        )
    return known_map(lora, {step.kind: step.deeper for step in reversed(family.insertions)}, family)


def _room(lora: LoraFile, family: Family | None) -> dict[str, int]:
    """The containers of the file, with room for any number, where no model says how many blocks there are."""
    names = container_names(family)
    found = (find_number(layer.name) for layer in lora.layers)
    return {names.get(x.container, x.container): _NO_LIMIT for x in found if x is not None}


def measure_files(old: Path, new: Path) -> MeasuredMap:
    """The map between the blocks of two model files, by their own weights.

    Raises:
        HeaderError: one of them is no model file.
        BlockMapError: they are not of one making; see ``match/alignment.py``.
        OSError: a file cannot be opened.
    """
    with ExitStack() as opened:
        sides = [_side(read_header(path), opened.enter_context(open(path, "rb"))) for path in (old, new)]
        (old_shapes, sample_old, id_old), (new_shapes, sample_new, _) = sides
        return _in_own_names(measure_map(old_shapes, sample_old, new_shapes, sample_new), family_of(id_old))


def _side(header: Header, file: BinaryIO) -> tuple[dict[str, tuple[int, ...]], Sample, str]:
    import numpy as np

    tensors, architecture = model_tensors(header)
    reader = NumberReader(header, file)

    def sample(key: str) -> object:
        info = reader.info(tensors[key].key)
        return np.concatenate([reader.read(info, start, count) for start, count in sample_runs(info.shape)])

    return {key: info.shape for key, info in tensors.items()}, sample, architecture


def _in_own_names(measured: MeasuredMap, family: Family | None) -> MeasuredMap:
    """Containers as ComfyUI calls them, for model files in the names of diffusers."""
    names = container_names(family)
    kinds = tuple((names.get(kind.replace(".", "_"), kind), pairs) for kind, pairs in measured.block_map.kinds)
    return replace(measured, block_map=BlockMap(kinds), family=family)


def write_renumbered(path: Path, source: Header, renumbered: Renumbered) -> Written:
    """Write the file behind ``source`` under its new names; metadata is kept and corrected.

    Raises:
        HeaderError: the source holds no tensors that can be copied.
        PatchbayError: the header of the new file would be too long.
        OSError: a file cannot be read or written.
    """
    if not renumbered.keys:
        raise BlockMapError(f"{source.name}: the block map leaves nothing of it.")
    if source.loaded is None and (source.container != "safetensors" or source.path is None):
        raise HeaderError(f"{source.name}: only safetensors files and PyTorch pickles can be renumbered.")
    metadata = dict(renumbered.file.header.metadata)
    notes = []
    if metadata.pop(_LEGACY_HASH, None) is not None:
        notes.append(f"{_LEGACY_HASH} is removed: it belonged to the source file.")
    keys = [*renumbered.keys, *renumbered.alphas]
    with TensorWriter(path, keys, metadata_size(metadata) + 400) as writer:
        _copy(writer, source, renumbered.keys)
        for key, value in renumbered.alphas.items():
            writer.add_raw(key, "F32", (), [struct.pack("<f", value)])
        for field in (field for field in _HASH_FIELDS if field in metadata):
            metadata[field] = writer.data_hash if field == _HASH_FIELDS[0] else f"0x{writer.data_hash}"
            notes.append(f"{field} is computed anew.")
        size = writer.finish(metadata)
    return Written(path, size, tuple(notes))


def _copy(writer: TensorWriter, source: Header, keys: Mapping[str, str]) -> None:
    """Every tensor under its new key, a few megabytes at a time."""
    if source.loaded is not None:
        for new, old in keys.items():
            writer.add(new, source.loaded[old])
        return
    assert source.path is not None
    with open(source.path, "rb") as file:
        for new, old in keys.items():
            info = source.tensors[old]
            writer.add_raw(new, info.dtype, info.shape, _pieces(file, source, info))


def _pieces(file: BinaryIO, source: Header, info: TensorInfo) -> Iterator[bytes]:
    file.seek(source.data_start + info.start)
    left = info.end - info.start
    while left:
        piece = file.read(min(left, _COPY_BYTES))
        if not piece:
            raise HeaderError(f"{source.name}: became shorter while it was read.")
        left -= len(piece)
        yield piece
