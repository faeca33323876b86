"""A LoRA file as it would be with other block numbers: same tensors, other names, the same scale in every layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import BlockMapError
from ..files.tensors import Header, TensorInfo
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..lora.scale_sources import ADAPTER_METADATA, HEADER_ALPHAS
from ..model.block_map import BlockMap
from ..model.family import Family
from .depth import MADE_FOR, numbered_blocks, refuse_second_map, renumber
from .readings import understand

NO_COUNTERPART = "its block has no counterpart in this model, says the block map"


@dataclass(frozen=True)
class Renumbered:
    """A file with its blocks renumbered; nothing is written and no tensor is read but scalars."""

    block_map: BlockMap
    file: LoraFile
    """The layers under their new names. Its header says where the tensors lie in the old file, and its metadata that
    it was renumbered."""
    keys: Mapping[str, str]
    """New key to the key in the old file; only of what is kept."""
    names: Mapping[str, str]
    """New layer name to the old one, where they differ."""
    left_out: tuple[LoraLayer, ...] = ()
    """Layers of blocks without a counterpart, as in the old file."""
    alphas: Mapping[str, float] = field(default_factory=dict[str, float])
    """Alpha tensors to add, by key: where the file's scale stood in metadata that speaks of the old numbers."""

    def described(self, name: str) -> str:
        """``blocks.2 -> blocks.3`` for a layer by its new name; empty where it did not move."""
        old = self.names.get(name)
        return "" if old is None else f"{_block(old, name)} -> {_block(name, old)}"


def _block(name: str, other: str) -> str:
    """The container and number in which two names differ."""
    start = next((i for i, (a, b) in enumerate(zip(name, other, strict=False)) if a != b), 0)
    while start and name[start - 1].isdigit():
        start -= 1
    end = start
    while end < len(name) and name[end].isdigit():
        end += 1
    container = name[:start].rstrip("._").rpartition(".")[2]
    for prefix in ("lora_unet_", "lora_transformer_", "lycoris_"):
        container = container.removeprefix(prefix)
    return f"{container}.{name[start:end]}"


def renumber_file(file: LoraFile, block_map: BlockMap, family: Family | None) -> Renumbered:
    """The file under the numbers of ``block_map``.

    Raises:
        BlockMapError: it was renumbered before, the map does not speak of one of its blocks, or its scale cannot be
            carried along.
    """
    refuse_second_map(file, block_map, family)
    rename = renumber(block_map, family)
    renamed = {key: rename(key) for key in file.header.tensors}
    keys = {new: old for old, new in renamed.items() if new is not None}
    if block_map.moves and all(old == new for old, new in renamed.items()) and not _speaks_of(file, block_map, family):
        kinds = ", ".join(kind for kind, _ in block_map.kinds)
        raise BlockMapError(f"{file.header.name}: names no block of {kinds}, so the block map has nothing to renumber.")
    if len(keys) != sum(new is not None for new in renamed.values()):
        raise BlockMapError(f"{file.header.name}: two of its layers would have the same name after the block map.")
    tensors = {new: file.header.tensors[old]._replace(key=new) for new, old in keys.items()}
    loaded = file.header.loaded
    loaded = {new: loaded[old] for new, old in keys.items()} if loaded is not None else None
    metadata = {**file.header.metadata, MADE_FOR: str(block_map)}
    header = replace(file.header, tensors=tensors, loaded=loaded, metadata=metadata)
    old_layers = understand(file).layers
    left_out = tuple(layer for layer in old_layers if all(renamed[key] is None for key in layer.keys))
    wanted = {(name, x.format, x.parameter): x for x in old_layers if (name := rename(x.name)) is not None}
    made, alphas = _with_scales(header, wanted)
    names = {name: layer.name for (name, _, _), layer in wanted.items() if name != layer.name}
    return Renumbered(block_map, made, keys, names, left_out, alphas)


def _speaks_of(file: LoraFile, block_map: BlockMap, family: Family | None) -> bool:
    """Whether the file names a block that the map speaks of."""
    kinds = [kind for kind, _ in block_map.kinds]
    return any(kind in kinds for kind in numbered_blocks((layer.name for layer in file.layers), family, kinds))


_Wanted = Mapping[tuple[str, str, str], LoraLayer]


def _with_scales(header: Header, wanted: _Wanted) -> tuple[LoraFile, dict[str, float]]:
    """The renamed file, with alphas of its own where its scales stood in patterns of the old names."""
    file = read_lora(header)
    if _same_scales(file, wanted):
        return file, {}
    alphas: dict[str, float] = {}
    for (name, _, parameter), layer in wanted.items():
        scaled = layer.adapter is not None and layer.adapter.scaled_by_alpha and parameter == "weight"
        if scaled and layer.rank and "alpha" not in layer.roles:
            alphas[f"{name}.alpha"] = layer.scale * layer.rank
    metadata = {k: v for k, v in header.metadata.items() if k not in (ADAPTER_METADATA, *HEADER_ALPHAS)}
    infos = {key: TensorInfo(key, "F32", (), 0, 0) for key in alphas}
    file = read_lora(replace(header, metadata=metadata, tensors={**header.tensors, **infos}))
    layers = tuple(_scaled(layer, alphas) for layer in file.layers)
    file = replace(file, layers=layers)
    if not _same_scales(file, wanted):
        raise BlockMapError(
            f"{header.name}: the scale of its layers is in a configuration by block number, which a block map "
            "cannot carry along. Convert the file first (lora-patchbay convert)."
        )
    return file, alphas


def _scaled(layer: LoraLayer, alphas: Mapping[str, float]) -> LoraLayer:
    alpha = alphas.get(layer.roles.get("alpha", ""))
    if alpha is None or not layer.rank:
        return layer
    return replace(layer, alpha=alpha, scale=alpha / layer.rank, scale_source="alpha tensor")


def _same_scales(file: LoraFile, wanted: _Wanted) -> bool:
    found = {(x.name, x.format, x.parameter): x.scale for x in understand(file).layers}
    return all(
        key in found and math.isclose(found[key], layer.scale, rel_tol=1e-9) for key, layer in wanted.items()
    )
