"""A LoRA file as layers: format, rank, alpha, and the scale with the place it comes from.

Only names, shapes and one-element tensors are read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from ..errors import AdapterFormatError
from ..files.tensors import Header
from .adapters import ADAPTERS, DORA_SPELLINGS, Adapter, Shape, find_adapters
from .adapters.base import Described
from .grouping import Grouping, group_tensors
from .key_style import KeyStyle, Writer, guess_writer
from .keys import split_key
from .scale_sources import PLACEHOLDER, HeaderScale, read_header_scale
from .shared import SharedLayers
from .strangers import Strangers


@dataclass(frozen=True)
class LoraLayer:
    """The tensors of a file that change one parameter of one layer."""

    name: str
    """Prefix of the keys as in the file."""
    format: str
    """``lora``, ``locon``, ``loha``, ``lokr``, ``glora``, ``oft``, ``oft_2``, ``boft``, ``ia3``, ``diff``,
    ``diff_b``, ``norm``, ``norm_b``, ``set``, ``dylora``; empty where the tensors make no known format."""
    roles: Mapping[str, str]
    """Role of each tensor to its key: ``down``, ``up``, ``alpha``, ``dora_scale``, ..."""
    parameter: str = "weight"
    rank: int | None = None
    alpha: float | None = None
    scale: float = 1.0
    """What the product of the factors is multiplied with."""
    scale_source: str = ""
    """Where ``scale`` comes from, for people."""
    out_features: int | None = None
    in_features: int | None = None
    kernel: tuple[int, ...] = ()
    dora: str = ""
    """Spelling of the DoRA magnitude (``dora_scale``, ``lora_magnitude_vector``, ``magnitude``), or empty."""
    note: str = ""
    adapter: Adapter | None = None
    plain: bool = False
    """A tensor called like a weight of the model itself: it replaces that weight, and is not understood where the
    model has none of this name."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the file that belong to this layer."""
        return tuple(self.roles.values())

    @property
    def needs_weight(self) -> bool:
        """Whether the delta depends on the model's own weight."""
        return bool(self.dora) or (self.adapter is not None and self.adapter.needs_weight)


@dataclass(frozen=True, eq=False)
class LoraFile:
    """What a LoRA file holds."""

    header: Header
    layers: tuple[LoraLayer, ...]
    other_keys: tuple[str, ...]
    """Keys that belong to no adapter. What could matter of them has a layer, plain or without a format."""
    style: KeyStyle
    writer: Writer
    notes: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    """Those of ``other_keys`` that change nothing by rule: an alpha without a pair, an embedding that rides along."""
    shared: SharedLayers | None = field(default=None, repr=False)
    """What other files of the same layers share with this one."""

    @property
    def formats(self) -> dict[str, int]:
        """Number of layers of each format, the most frequent first; DoRA is named."""
        names = (f"{x.format} + DoRA" if x.dora else x.format or "not understood" for x in self.layers)
        return dict(Counter(names).most_common())

    @property
    def ranks(self) -> tuple[int, ...]:
        """Distinct ranks, ascending."""
        return tuple(sorted({layer.rank for layer in self.layers if layer.rank is not None}))


def is_lora(tensors: Collection[str]) -> bool:
    """Whether these are the tensors of adapters rather than whole weights: at least half of them belong to one.

    Fewer are enough where the whole weights are those of other layers: full replacements beside a LoRA.
    """
    needed = (len(tensors) + 1) // 2
    strangers = len(tensors) - needed
    adapters = False
    for key in tensors:
        parts = split_key(key)
        if parts is None:
            strangers -= 1
            if strangers < 0:
                return _with_replacements(tensors)
            continue
        needed -= 1
        adapters = adapters or parts.role != "alpha"
        if adapters and needed <= 0:
            return True
    return False


def read_lora(header: Header) -> LoraFile:
    """Group the tensors of ``header`` into layers. Never fails: what makes no sense is a layer with a note."""
    keys = tuple(header.tensors)
    few = len(keys) <= _SHARED_TENSORS
    grouping = _grouping_cached(keys) if few else group_tensors(keys)
    shapes = tuple([info.shape for info in header.tensors.values()])
    alphas = tuple(header.scalars(grouping.alpha_keys).items())
    header_scale = read_header_scale(header.metadata)
    dylora = _dylora_block_size(header.metadata)
    if few and header_scale.says_nothing:
        shared = _shared_layers(keys, shapes, alphas, dylora)
    else:
        shared = SharedLayers(_all_layers(grouping, dict(zip(keys, shapes, strict=True)), alphas, header_scale, dylora))
    notes = [*header_scale.notes, *_harmless_notes(grouping.orphans, grouping.strangers)]
    if header_scale.fallback and any(x.format and "no alpha" in x.scale_source for x in shared.layers):
        notes.append(header_scale.fallback)
    return LoraFile(
        header, shared.layers, (*grouping.other, *grouping.orphans), grouping.style,
        guess_writer(header, grouping.style), tuple(notes), (*grouping.orphans, *grouping.strangers.embeddings), shared,
    )  # fmt: skip


_Alphas = tuple[tuple[str, float], ...]


def _all_layers(
    grouping: Grouping, shapes: dict[str, Shape], alphas: _Alphas, header_scale: HeaderScale, dylora: int
) -> tuple[LoraLayer, ...]:
    layers: list[LoraLayer] = []
    known = dict(alphas)
    for name, roles in grouping.groups.items():
        layers.extend(_layers(shapes, name, roles, known, header_scale, dylora))
    layers.extend(_replacements(shapes, grouping.strangers))
    layers.extend(_unknown(grouping.strangers))
    return tuple(layers)


# The files of a collection repeat a few layouts. Those of absurd size are left out: they would fill the memory.
_SHARED_TENSORS = 4_000
_grouping_cached = lru_cache(16)(group_tensors)


@lru_cache(16)
def _shared_layers(keys: tuple[str, ...], shapes: tuple[Shape, ...], alphas: _Alphas, dylora: int) -> SharedLayers:
    """The layers of every file with these tensors whose metadata say nothing about scale."""
    sizes = dict(zip(keys, shapes, strict=True))
    return SharedLayers(_all_layers(_grouping_cached(keys), sizes, alphas, HeaderScale(), dylora))


_PACKED = frozenset({"qweight", "wscales", "comfy_quant", "weight_scale", "scale_weight"})
_LEAST_SHARE = 20
"""A file of full replacements beside a LoRA has at least one adapter tensor in so many."""


def _with_replacements(tensors: Collection[str]) -> bool:
    """Whether a file that holds more whole weights than adapters is a LoRA all the same.

    It is one if its adapters have both their factors and no whole weight of their own layer. Nunchaku's models and
    ControlNets made of adapters do have one, or their packed forms.
    """
    roles: dict[str, set[str]] = {}
    count = 0
    for key in tensors:
        if key.rpartition(".")[2] in _PACKED or key.startswith(("ip_adapter", "image_proj", "lora_controlnet")):
            return False
        parts = split_key(key)
        if parts is not None:
            count += 1
            roles.setdefault(parts.name, set()).add(parts.role)
    complete = [name for name, found in roles.items() if any(a.recognise(dict.fromkeys(found, (1, 1))) for a in _PAIRS)]
    if not complete or count * _LEAST_SHARE < len(tensors):
        return False
    return not any(f"{name}.weight" in tensors for name in complete)


def _replacements(shapes: Mapping[str, Shape], strangers: Strangers) -> list[LoraLayer]:
    """Layers of whole weights. Only beside a LoRA do they replace the model's; else the file is a model itself."""
    if not strangers.replaced or not is_lora(shapes):
        return [
            LoraLayer(name, "", {f"set_{parameter}": key}, parameter, note=NO_LORA)
            for name, parameter, key in strangers.replaced
        ]
    layers: list[LoraLayer] = []
    for name, parameter, key in strangers.replaced:
        adapter = _REPLACED[parameter]
        shape = shapes[key]
        layers.append(
            LoraLayer(
                name, adapter.name, {f"set_{parameter}": key}, parameter, scale_source="none",
                out_features=shape[0] if shape else None, in_features=shape[1] if len(shape) > 1 else None,
                kernel=shape[2:], note=REPLACED, adapter=adapter, plain=True,
            )  # fmt: skip
        )
    return layers


REPLACED = "a full replacement of the model's own weight"
"""Remark on a tensor that is called like a weight of the model."""
NO_LORA = "a weight of a model, in a file that is not a LoRA"
"""Why such a tensor is not used where no adapters are beside it."""


def _unknown(strangers: Strangers) -> list[LoraLayer]:
    return [
        LoraLayer(name, "", roles, note=f"{', '.join(sorted(roles))}: tensors of no adapter that is known")
        for name, roles in strangers.unknown.items()
    ]


def _harmless_notes(orphans: list[str], strangers: Strangers) -> list[str]:
    notes: list[str] = []
    if orphans:
        shown = ", ".join(key[:80] for key in orphans[:3])
        notes.append(f"{len(orphans)} tensors are an alpha without a pair, which scales nothing: {shown}.")
    if strangers.embeddings:
        notes.append(
            f"{len(strangers.embeddings)} tensors are textual-inversion embeddings, which a LoRA loader leaves alone."
        )
    return notes


def _dylora_block_size(metadata: Mapping[str, str]) -> int:
    """Ranks of a block where the metadata says LyCORIS DyLoRA, -1 for kohya's, 0 for anything else.

    The tensors look like any LoRA's. LyCORIS trains with a random number of blocks and scales by alpha over that
    number, not over the rank (``modules/dylora.py``).
    """
    text = metadata.get("ss_network_args", "")[:10_000].replace(" ", "").lower()
    if '"algo":"dylora"' in text:
        size = re.search(r'"block_size":"?(\d{1,4})', text)
        return max(1, int(size[1])) if size else 4
    return -1 if metadata.get("ss_network_module", "")[:200].lower().endswith("dylora") else 0


class _Understood(NamedTuple):
    """One adapter that the tensors of a layer make."""

    adapter: Adapter
    roles: frozenset[str]
    described: Described | None
    trouble: str = ""


_Shapes = tuple[tuple[str, Shape], ...]
_CACHED_DIMENSIONS = 6


def _understand(shapes: _Shapes) -> tuple[_Understood, ...]:
    by_role = dict(shapes)
    found: list[_Understood] = []
    for adapter in find_adapters(by_role):
        roles = frozenset(by_role) & adapter.roles
        if adapter.parameter == "weight":
            roles |= frozenset(by_role) & {"alpha", "dora_scale"}
        try:
            found.append(_Understood(adapter, roles, adapter.describe(by_role)))
        except AdapterFormatError as error:
            found.append(_Understood(adapter, roles, None, f"{adapter.name}: {error}"))
    return tuple(found)


# The blocks of a model repeat a few shapes. Shapes of absurd length are left out: they would fill the memory.
_understand_cached = lru_cache(4_096)(_understand)


def _layers(
    shapes_of: Mapping[str, Shape],
    name: str,
    roles: dict[str, str],
    alphas: Mapping[str, float],
    header_scale: HeaderScale,
    dylora: int,
) -> list[LoraLayer]:
    shapes = tuple([(role, shapes_of[key]) for role, key in roles.items()])
    plain = max(len(shape) for _, shape in shapes) <= _CACHED_DIMENSIONS
    found = _understand_cached(shapes) if plain else _understand(shapes)
    if not found:
        what = ", ".join(sorted(roles))
        return [LoraLayer(name, "", roles, note=f"{what} alone make no adapter that is known")]
    layers: list[LoraLayer] = []
    left = set(roles)
    for understood in found:
        own = {role: key for role, key in roles.items() if role in understood.roles}
        left -= own.keys()
        layers.append(_layer(name, understood, own, alphas, header_scale, dylora))
    if left:
        note = f"{', '.join(sorted(left))} belong to no adapter here"
        layers.append(LoraLayer(name, "", {role: roles[role] for role in sorted(left)}, note=note))
    return layers


def _layer(
    name: str,
    understood: _Understood,
    roles: dict[str, str],
    alphas: Mapping[str, float],
    header_scale: HeaderScale,
    dylora: int,
) -> LoraLayer:
    adapter, described = understood.adapter, understood.described
    if described is None:
        return LoraLayer(name, "", roles, adapter.parameter, note=understood.trouble)
    if dylora and described.format in ("lora", "locon"):
        described = replace(described, format="dylora")
    alpha_key = roles.get("alpha")
    alpha = alphas.get(alpha_key) if alpha_key is not None else None
    scale, source, used = _scale(adapter, name, described.rank, alpha_key is not None, alpha, header_scale)
    if described.format == "dylora" and dylora > 0 and used is not None and described.rank:
        blocks = -(-described.rank // dylora)
        scale, source = used / blocks, f"alpha tensor over the {blocks} blocks of the DyLoRA"
    return LoraLayer(
        name=name,
        format=described.format,
        roles=roles,
        parameter=adapter.parameter,
        rank=described.rank,
        alpha=used,
        scale=scale,
        scale_source=source,
        out_features=described.out_features,
        in_features=described.in_features,
        kernel=described.kernel,
        dora=_dora_spelling(roles) if "dora_scale" in roles else "",
        note=described.note,
        adapter=adapter,
    )


def _scale(
    adapter: Adapter,
    name: str,
    rank: int | None,
    has_alpha: bool,
    alpha: float | None,
    header_scale: HeaderScale,
) -> tuple[float, str, float | None]:
    """Scale, where it comes from, and the alpha that was used."""
    if not adapter.scaled_by_alpha:
        return 1.0, "none: alpha bounds the rotation" if has_alpha else "none", alpha
    if alpha is not None and math.isfinite(alpha) and alpha >= PLACEHOLDER:
        alpha, has_alpha = None, False  # the trainer's way to say that there is none
    if rank is None:
        return 1.0, "none: both factors are whole", alpha
    if rank == 0:
        return 1.0, "none: the rank is 0", alpha
    if has_alpha:
        if alpha is None:
            return 1.0, "not known: the alpha tensor could not be read", None
        if not math.isfinite(alpha):
            return 1.0, "not known: the alpha tensor is not a number", None
        return alpha / rank, "alpha tensor", alpha
    from_header = header_scale.of(name, rank)
    if from_header is not None:
        return from_header
    return 1.0, "no alpha anywhere: 1", None


_BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
_REPLACED = {"weight": _BY_NAME["set"], "bias": _BY_NAME["set_b"]}
_PAIRS = tuple(_BY_NAME[name] for name in ("lora", "loha", "lokr", "glora", "oft", "diff"))


def _dora_spelling(roles: Mapping[str, str]) -> str:
    key = roles["dora_scale"]
    for suffix, spelling in DORA_SPELLINGS.items():
        if key.endswith(f".{suffix}"):
            return spelling
    return "dora_scale"
