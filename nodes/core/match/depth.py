"""Is a LoRA numbered for as many blocks as the model has? And which block of the model is each of its blocks?

A deeper model that was made by inserting blocks has every layer that a LoRA of the shallower one names, in the right
shape and in the wrong place. What tells is the highest block number in the file, snapped up to the published depths,
and the gaps: a file whose gaps are exactly the inserted blocks is numbered for the deeper model already. A count of
blocks tells nothing, since a LoRA may leave blocks out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..errors import BlockMapError
from ..lora.file import LoraFile
from ..model.block_map import BlockMap, identity_map, inserted_map, invert
from ..model.facts import is_text_encoder_name, strip_prefix
from ..model.family import Family, Inserted

AUTO = "auto"
"""Text of a block map that means: whatever is published for this file and this model."""

MADE_FOR = "patchbay.block_map"
"""Metadata field of a file whose blocks were renumbered: the map."""

_NUMBERED = re.compile(r"^_?([A-Za-z][A-Za-z_.]*?)[._](\d{1,4})(?=[._]|$)")
_FLUX_NAMES = {"transformer_blocks": "double_blocks", "single_transformer_blocks": "single_blocks"}
_MODEL_FIELDS = ("ss_sd_model_name", "ss_base_model", "modelspec.title", "modelspec.architecture", "base_model")
_LONGEST_FIELD = 300
_TELLING_GAPS = 3
"""Fewer gaps than this may be chance: a LoRA that leaves out a block or two."""


class Numbered(NamedTuple):
    """Where the block number stands in a layer name or a key."""

    container: str
    """As the name spells it, joined with underscores."""
    index: int
    start: int
    end: int


@dataclass(frozen=True)
class DepthDoubt:
    """Why layers that land may land on other blocks than they were trained on."""

    sentence: str
    block_map: BlockMap | None = None
    """What puts it right, where that is known."""
    id: str = "depth"


def find_number(name: str, prefixes: tuple[str, ...] = ()) -> Numbered | None:
    """The block number in a layer name or key, whatever the prefix; ``None`` for what lies in no block.

    >>> find_number("lora_unet_double_blocks_3_img_attn_qkv")
    Numbered(container='double_blocks', index=3, start=24, end=25)
    """
    return _find_cached(name, prefixes) if len(name) <= 200 else _find_number(name, prefixes)


def _find_number(name: str, prefixes: tuple[str, ...]) -> Numbered | None:
    if is_text_encoder_name(name):
        return None
    bare = strip_prefix(name)
    for prefix in prefixes:
        if bare.startswith(prefix):
            bare = strip_prefix(bare[len(prefix) :])
            break
    match = _NUMBERED.match(bare)
    if match is None:
        return None
    offset = len(name) - len(bare)
    return Numbered(match[1].replace(".", "_"), int(match[2]), offset + match.start(2), offset + match.end(2))


_find_cached = lru_cache(16_384)(_find_number)


def container_names(family: Family | None, kinds: Iterable[str] = ()) -> dict[str, str]:
    """What files call the containers of a family, joined with underscores, to the model's own names.

    Args:
        kinds: Containers of the model at hand, for families that do not list theirs.
    """
    own = [*kinds]
    if family is not None:
        own += [*family.kinds, *family.depths, *(known.kind for known in family.insertions)]
    names = {kind.replace(".", "_"): kind for kind in own}
    for link in family.links if family is not None else ():
        for other in link.file:
            if ".#" in other and ".#" in link.model[0]:
                kind = link.model[0].partition(".#")[0]
                names.setdefault(other.partition(".#")[0].replace(".", "_"), kind)
    for other, kind in _FLUX_NAMES.items():
        if kind in own:
            names.setdefault(other, kind)
    return names


def numbered_blocks(
    names: Iterable[str], family: Family | None, kinds: Iterable[str] = ()
) -> dict[str, frozenset[int]]:
    """The block numbers that layer names or keys speak of, by the model's own containers."""
    containers = container_names(family, kinds)
    prefixes = family.prefixes if family is not None else ()
    found: dict[str, set[int]] = {}
    for name in names:
        numbered = find_number(name, prefixes)
        if numbered is not None and numbered.container in containers:
            found.setdefault(containers[numbered.container], set()).add(numbered.index)
    return {kind: frozenset(indices) for kind, indices in found.items()}


def renumber(block_map: BlockMap, family: Family | None) -> Callable[[str], str | None]:
    """A function from a layer name or key to the same in the new numbers; ``None`` where its block has no counterpart.

    Raises (the function):
        BlockMapError: the map does not speak of the block.
    """
    kinds = [kind for kind, _ in block_map.kinds if kind]
    containers = container_names(family, kinds)
    maps = {kind: block_map.of(kind) for kind in kinds}
    prefixes = family.prefixes if family is not None else ()

    def rename(name: str) -> str | None:
        numbered = find_number(name, prefixes)
        pairs = maps.get(containers.get(numbered.container, "")) if numbered is not None else None
        if numbered is None or pairs is None:
            return name
        if numbered.index not in pairs:
            raise BlockMapError(
                f"block map: the file names {numbered.container}.{numbered.index}, the map names "
                f"{min(pairs)}-{max(pairs)} only; it belongs to another model, or the pair is missing."
            )
        new = pairs[numbered.index]
        return None if new is None else f"{name[: numbered.start]}{new}{name[numbered.end :]}"

    return rename


def bound_map(block_map: BlockMap, counts: Mapping[str, int], family: Family | None) -> BlockMap:
    """A map with its container named where the text left it out, and checked against the model.

    Args:
        counts: Blocks of each container of the model at hand.

    Raises:
        BlockMapError: the container cannot be told, the model has none of that name, or too few blocks.
    """
    found: list[tuple[str, tuple[tuple[int, int | None], ...]]] = []
    for kind, pairs in block_map.kinds:
        name = kind or _only_kind(counts, family)
        if name not in counts:
            raise BlockMapError(f"block map: the model has no {name}, it has {', '.join(counts) or 'no blocks'}.")
        highest = max((new for _, new in pairs if new is not None), default=0)
        if highest >= counts[name]:
            raise BlockMapError(f"block map: {name}.{highest} is not in this model ({name}.0-{counts[name] - 1}).")
        found.append((name, pairs))
    return BlockMap(tuple(found))


def _only_kind(counts: Mapping[str, int], family: Family | None) -> str:
    inserted = {known.kind for known in family.insertions} if family is not None else set()
    candidates = inserted & set(counts) or set(counts)
    if len(candidates) != 1:
        raise BlockMapError(
            f"block map: which blocks are meant? Name them: {' or '.join(sorted(candidates)) or 'blocks'}: 0->0, ..."
        )
    return candidates.pop()


def block_counts(shapes: Iterable[str], family: Family | None) -> dict[str, int]:
    """Blocks of each container that a family lists, from the keys of a model."""
    return {kind: max(indices) + 1 for kind, indices in numbered_blocks(shapes, family).items()}


# --- what a file is numbered for ----------------------------------------------------------------------


def is_renumbered(indices: frozenset[int], known: Inserted) -> bool:
    """Whether the gaps of a file, up to its highest block, are exactly the inserted blocks: it was renumbered for the
    deeper model already."""
    highest = max(indices, default=-1)
    gaps = frozenset(range(highest + 1)) - indices
    expected = frozenset(x for x in known.inserted if x <= highest)
    return len(expected) >= _TELLING_GAPS and gaps == expected


def snapped_depth(indices: frozenset[int], family: Family, kind: str) -> int:
    """The smallest published depth that holds the highest block of a file; the file's own count where none does."""
    count = max(indices, default=-1) + 1
    known = {depth for entry in family.insertions if entry.kind == kind for depth in (entry.blocks, entry.deeper)}
    return min((depth for depth in (*known, *family.depths.get(kind, ())) if depth >= count), default=count)


@dataclass(frozen=True)
class _Layout:
    """What a file's numbers of one container say, next to the model's depth."""

    kind: str
    indices: frozenset[int]
    made_for: int
    model: int
    sure: bool
    """Whether names or metadata leave no other reading."""
    step: Inserted | None
    """What leads from one to the other, where the two are a published pair."""


def _layouts(file: LoraFile, counts: Mapping[str, int], family: Family) -> list[_Layout]:
    """The containers in which a file is numbered for another depth; none where no block of it would move."""
    found: list[_Layout] = []
    blocks = numbered_blocks((layer.name for layer in file.layers), family)
    for kind in dict.fromkeys(known.kind for known in family.insertions):
        indices, model = blocks.get(kind, frozenset()), counts.get(kind, 0)
        if not indices or not model:
            continue
        steps = [known for known in family.insertions if known.kind == kind]
        made_for, sure = _made_for(file, indices, family, steps, model)
        if made_for != model:
            pair = {made_for, model}
            step = next((known for known in steps if {known.blocks, known.deeper} == pair), None)
            layout = _Layout(kind, indices, made_for, model, sure, step)
            block_map = _published_map(layout)
            if block_map is None or any(block_map.of(kind).get(index) != index for index in indices):
                found.append(layout)
    return found


def _made_for(
    file: LoraFile, indices: frozenset[int], family: Family, steps: list[Inserted], model: int
) -> tuple[int, bool]:
    """The depth that a file is numbered for, and whether nothing else is possible."""
    renumbered = next((known for known in steps if is_renumbered(indices, known)), None)
    if renumbered is not None:
        return renumbered.deeper, True
    smallest = snapped_depth(indices, family, steps[0].kind)
    if smallest >= model:
        return smallest, True
    said = _depth_in_metadata(file.header.metadata, steps)
    if said is not None and said >= smallest:
        return said, True
    return smallest, len(indices) == smallest


def _depth_in_metadata(metadata: Mapping[str, str], steps: list[Inserted]) -> int | None:
    """The depth of the model that the metadata names: by the deeper models' names."""
    text = " ".join(metadata.get(field, "")[:_LONGEST_FIELD].lower() for field in _MODEL_FIELDS)
    if not text.strip():
        return None
    return next((known.deeper for known in steps if any(name.lower() in text for name in known.called)), None)


def depth_doubt(file: LoraFile, shapes: Iterable[str], family: Family | None) -> DepthDoubt | None:
    """Whether a file is numbered for another depth than the model has; ``None`` where nothing speaks for that.

    Args:
        shapes: Keys of the model's weights, with or without ``diffusion_model.``.
        family: Of the model; the file is taken to belong to it.
    """
    if family is None or not family.insertions or MADE_FOR in file.header.metadata:
        return None
    for layout in _layouts(file, block_counts(shapes, family), family):
        block_map = _published_map(layout)
        return DepthDoubt(_sentence(layout, block_map), block_map)
    return None


def _published_map(layout: _Layout) -> BlockMap | None:
    """The map from the file's numbers to the model's, where it is published."""
    if layout.step is None or not layout.step.inserted:
        return None
    forward = inserted_map(layout.step)
    return forward if layout.step.deeper == layout.model else invert(forward, {layout.kind: layout.step.deeper})


def _sentence(layout: _Layout, block_map: BlockMap | None) -> str:
    old, new = layout.made_for, layout.model
    if new < old:
        return _shallower(old, new, block_map)
    if layout.sure:
        if block_map is None:
            return (
                f"made for the {old}-block model; this one has {new}, blocks were inserted: no map is published, so "
                "remap it only by one measured from the two models (lora-patchbay remap --from-model --to-model)"
            )
        return (
            f"made for the {old}-block model; this one has {new}, blocks were inserted: remap it with block_map auto "
            "in Apply LoRA or Save LoRA, or with lora-patchbay remap"
        )
    last = f"{layout.kind}.{max(layout.indices)}"
    return (
        f"names no block above {last}, so it may be made for the {old}-block model; this one has {new}, blocks were "
        "inserted, and the names alone cannot tell: ask its author, and remap it if so"
    )


def _shallower(old: int, new: int, block_map: BlockMap | None) -> str:
    if block_map is None:
        return (
            f"made for the {old}-block model; this one has {new}: no map is published, so remap it only by one "
            "measured from the two models (lora-patchbay remap --from-model --to-model)"
        )
    return (
        f"made for the {old}-block model; this one has {new}: remap it with block_map auto in Apply LoRA or Save LoRA, "
        "or with lora-patchbay remap; the layers of the blocks that are missing here are left out"
    )


def known_map(file: LoraFile, counts: Mapping[str, int], family: Family | None) -> BlockMap:
    """What ``auto`` means for a file and a model: the published map, or one that moves nothing.

    Raises:
        BlockMapError: the depths differ and no map is published, or the file does not say which depth it is made for.
    """
    if family is None or not family.insertions or MADE_FOR in file.header.metadata:
        return BlockMap(())
    for layout in _layouts(file, counts, family):
        pair = f"from {layout.made_for} to {layout.model} blocks"
        block_map = _published_map(layout)
        if block_map is None:
            raise BlockMapError(
                f"block map: none is published {pair}. Measure one with lora-patchbay remap --from-model --to-model, "
                "or leave block_map empty."
            )
        if not layout.sure:
            raise BlockMapError(
                f"block map: the file names no block above {layout.kind}.{max(layout.indices)}, and nothing in it says "
                f"whether it is made for {layout.made_for} or {layout.model} blocks. If it is made for "
                f"{layout.made_for}, give the map as text: {block_map}"
            )
        return block_map
    return identity_map("", ())


def refuse_second_map(file: LoraFile, block_map: BlockMap, family: Family | None) -> None:
    """Refuse a map for a file that was renumbered already.

    Raises:
        BlockMapError: its gaps are the inserted blocks, or its metadata says so.
    """
    done = file.header.metadata.get(MADE_FOR)
    if done is not None:
        raise BlockMapError(
            f"{file.header.name}: its blocks were renumbered already ({done[:120]}); mapping them a second time would "
            "put every layer on a wrong block. Leave block_map empty."
        )
    blocks = numbered_blocks((layer.name for layer in file.layers), family)
    for known in family.insertions if family is not None else ():
        pairs = block_map.of(known.kind)
        rises = any(new is not None and new > old for old, new in pairs.items())
        if rises and is_renumbered(blocks.get(known.kind, frozenset()), known):
            raise BlockMapError(
                f"{file.header.name}: its blocks are numbered for {known.deeper} blocks already: it leaves out exactly "
                f"those that were inserted ({', '.join(map(str, known.inserted[:4]))}, ...). Leave block_map empty."
            )
