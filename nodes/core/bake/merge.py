"""Several LoRAs as one file that does in any loader what they did together, written one weight at a time."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..files.hashes import file_hashes
from ..files.reader import TensorReader
from ..files.writer import TensorWriter, metadata_size
from ..lora.scale_sources import ADAPTER_METADATA, HEADER_ALPHAS
from .file import PREFIX, free_path
from .layer import BakeOptions
from .merge_layer import MergedLayer, merge_blend, merge_way
from .merge_plan import Blend, MergeModel, MergePlan, MergeSource

_OF_ONE_FILE = frozenset(
    {
        ADAPTER_METADATA, *HEADER_ALPHAS, "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256",
        "ss_network_dim", "ss_network_alpha", "ss_network_module", "ss_network_args", "ss_output_name", "ss_steps",
    }
)  # fmt: skip
"""Fields that speak of one file's tensors or training and are no longer true of the sum."""
_MOST_METADATA = 4_000_000
"""Bytes of the sources' own metadata that are kept; beyond that the longest fields are left out and named."""


@dataclass(frozen=True)
class MergedFile:
    """What was written."""

    path: Path
    size_bytes: int
    layers: tuple[tuple[Blend, MergedLayer], ...]
    """Without their tensors."""
    notes: tuple[str, ...]

    @property
    def error(self) -> float:
        """``|written - meant| / |meant|`` over all layers whose size is known; 0 where all are exact."""
        known = [(layer.error or 0.0, layer.norm) for _, layer in self.layers if layer.norm]
        total = math.sqrt(sum(norm**2 for _, norm in known))
        return math.sqrt(sum((error * norm) ** 2 for error, norm in known)) / total if total else 0.0

    @property
    def ways(self) -> dict[str, int]:
        """Number of layers for each way in which they were written."""
        return dict(Counter(layer.how for _, layer in self.layers).most_common())


def write_merged(
    path: Path,
    plan: MergePlan,
    sources: Sequence[MergeSource],
    options: BakeOptions,
    model: MergeModel | None = None,
) -> MergedFile:
    """Write the file; ``path`` must be free or meant to be replaced.

    Raises:
        PatchbayError: a layer cannot be merged, or a value does not fit its dtype; nothing is written then.
        HeaderError: a file cannot be read tensor by tensor.
        OSError: a file cannot be read or written.
    """
    weight = model.weight if model is not None else lambda key: None
    readable = _Readable(weight)
    for blend in plan.blends:
        needs = any(part.layer.needs_weight for part in blend.parts)
        merge_way(blend, options, not needs or readable(blend.model_key))
    metadata = _metadata(plan, sources, options, model)
    keys = [key for blend in plan.blends for key in _possible_keys(blend)]
    done: list[tuple[Blend, MergedLayer]] = []
    with ExitStack() as opened:
        readers = [opened.enter_context(TensorReader(source.header)) for source in sources]
        writer = opened.enter_context(TensorWriter(path, keys, metadata_size(metadata) + 400))
        for blend in plan.blends:
            layer = merge_blend(blend, readers, options, weight)
            for key, tensor in layer.tensors.items():
                writer.add(key, tensor)
            done.append((blend, MergedLayer({}, layer.how, layer.rank, layer.error, layer.norm)))
        metadata["sshs_model_hash"] = writer.data_hash
        size = writer.finish(metadata, lambda: free_path(path, False)[0])
    notes = list(plan.notes)
    if writer.path != path:
        notes.append(
            f"{path.name} could not be replaced because a program has it open (a loaded model still uses it, for "
            f"example); the new file is {writer.path.name}."
        )
    return MergedFile(writer.path, size, tuple(done), tuple(notes))


class _Readable:
    """Whether a weight can be read, asked once for each."""

    def __init__(self, weight: object) -> None:
        self._weight = weight
        self._known: dict[str, bool] = {}

    def __call__(self, key: str) -> bool:
        if key not in self._known:
            self._known[key] = bool(key) and self._weight(key) is not None  # type: ignore[operator]
        return self._known[key]


def _possible_keys(blend: Blend) -> Iterator[str]:
    ends = {".alpha", ".diff", ".diff_b", ".lora_up.weight", ".lora_down.weight", ".lora_A.weight", ".lora_B.weight"}
    for part in blend.parts:
        ends |= {f".{role}.weight" for role in part.layer.roles}
        ends |= {key.removeprefix(part.layer.name) for key in part.layer.roles.values()}
    for end in sorted(ends):
        yield blend.name + end


# --- metadata ---------------------------------------------------------------------------------------------


def _metadata(
    plan: MergePlan, sources: Sequence[MergeSource], options: BakeOptions, model: MergeModel | None
) -> dict[str, str]:
    """Fields on which all files agree, and all fields of each file under its name."""
    first, *others = (source.header.metadata for source in sources)
    kept = {
        key: value
        for key, value in first.items()
        if key not in _OF_ONE_FILE and not key.startswith(PREFIX) and all(x.get(key) == value for x in others)
    }
    own: dict[str, str] = {
        "format": "merged 1", "dtype": options.dtype, "sources": json.dumps([_described(x) for x in sources]),
        "history": json.dumps(_histories(sources)),
    }  # fmt: skip
    if not options.resizing.keeps_all:
        own |= {"rank": str(options.resizing.rank), "energy": repr(options.resizing.energy)}
    if plan.left_out:
        own["left_out"] = str(len(plan.left_out))
    if model is not None:
        own["model"] = model.name
    return kept | {PREFIX + key: value for key, value in own.items()} | {"sshs_model_hash": "0" * 64}


def _described(source: MergeSource) -> dict[str, object]:
    header = source.header
    digest = file_hashes(header.path, header.data_start)["sha256"] if header.path is not None else ""
    return {
        "name": header.name, "sha256": digest, "strength_model": source.strength_model,
        "strength_clip": source.strength_clip, "blocks": source.blocks.strip(),
    }  # fmt: skip


def _histories(sources: Sequence[MergeSource]) -> list[dict[str, str]]:
    """The metadata of every file; the longest fields give way where they would take megabytes."""
    found = [dict(source.header.metadata) for source in sources]
    sizes = sorted(((len(value), number, key) for number, x in enumerate(found) for key, value in x.items()))
    total = sum(size for size, _, _ in sizes)
    while total > _MOST_METADATA:
        size, number, key = sizes.pop()
        found[number][key] = f"left out: {size} characters"
        total -= size
    return found
