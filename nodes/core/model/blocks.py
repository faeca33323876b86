"""Block addresses, taken from a model's own keys.

A *block* is one entry of a repeated container of the model (``double_blocks.3``). Nothing here is a table of
architectures: a container is recognised by its shape, so that a model published tomorrow has blocks too.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

OTHER = "other"
"""Address of what lies in no block."""

TEXT_ENCODER = "te"
"""Address of everything that belongs to the text encoder."""

MODEL_PREFIX = "diffusion_model."
"""What ComfyUI puts before the keys of a diffusion model."""

_PARAMETERS = frozenset({"weight", "bias", "scale", "gamma", "beta", "alpha"})

_STREAMS = {
    "img": re.compile(r"^(img|x|image)_|^x_block$|^ff_i$|^(mlp|mod)X$|^(qkv|proj|mlp|mod)_x$"),
    "txt": re.compile(
        r"^(txt|context|add|text)_|^context_block$|_context$|^to_add_out$|^norm_added_|^(to_[qkv]|to_out|ff)_t$"
        r"|^(mlp|mod)C$|^(qkv|proj|mlp|mod)_y$"
    ),
}
_MEDIA = {"audio": re.compile(r"^audio_|_to_audio_"), "video": re.compile(r"^video_|_to_video_")}
"""What models of picture and sound call the layers of each; in a block with layers for sound the others are video."""
_ROLES = {
    "attn": re.compile(r"attn|attention|^to_[qkv]$|^to_out$|^(q|k|v|o|qkv|proj)$|^add_[qkv]_proj$", re.IGNORECASE),
    "mlp": re.compile(
        r"mlp|(^|_)ff(_|$)|feed_?forward|^ffn|^w[123]$|^fc[12]$|^layer[12]$|^moe$|^DenseReluDense$", re.IGNORECASE
    ),
}
_PROJECTIONS = re.compile(r"^(?:to_|add_|w[12]?)?([qkv])(?:_proj|_linear|_img|_t)?$")
"""Linears that make only the queries, keys or values: ``to_q``, ``q_proj``, ``add_k_proj``, ``v``."""


@dataclass(frozen=True, order=True)
class BlockId:
    """One block of a model; ``double_blocks.7`` and ``single_blocks.7`` are different blocks."""

    kind: str
    """Name of the container in the model, relative to its root."""
    index: int
    """0-based position in the container."""

    def __str__(self) -> str:
        return f"{self.kind}.{self.index}"


@dataclass(frozen=True)
class Place:
    """Where a model key lies."""

    key: str
    """The full model key."""
    block: BlockId | None
    """``None`` for what lies in no block."""
    layer: str
    """Path of the layer inside its block (or inside the model), without the parameter: ``img_attn.qkv``."""
    text_encoder: bool = False
    """Whether the key belongs to a text encoder. ``block`` is then one of its layers, ``layer`` the whole path."""
    inner: str = ""
    """What ``parts`` is made of where that is less than ``layer``: a text encoder's path inside its block."""
    extra: frozenset[str] = frozenset()
    """Parts that only the neighbours tell: ``img`` for ``attn.to_q`` beside ``attn.add_q_proj``."""
    beside_attention: bool = False
    """Whether the block has attention layers of its own, so that a ``linear1`` in it is no attention."""

    @property
    def encoder(self) -> str:
        """Name of the text encoder (``clip_l``, ``t5xxl``), or empty."""
        return self.key.partition(".")[0] if self.text_encoder else ""

    @property
    def address(self) -> str:
        """``double_blocks.3``, ``other`` or ``te``."""
        if self.text_encoder:
            return TEXT_ENCODER
        return str(self.block) if self.block else OTHER

    @property
    def parts(self) -> frozenset[str]:
        """All names by which this layer can be selected inside its block."""
        parts = layer_parts(self.inner or self.layer)
        return parts | self.extra if self.extra else parts


@lru_cache(16_384)
def layer_parts(layer: str) -> frozenset[str]:
    """The part names of a layer: its path and every piece of it, its stream (``img``, ``txt``), its role (``attn``,
    ``mlp``), and ``q``, ``k`` or ``v`` for a linear that makes only those.

    >>> sorted(layer_parts("img_attn.qkv"))
    ['attn', 'img', 'img_attn', 'img_attn.qkv', 'qkv']
    """
    segments = layer.split(".")[:12]
    ends = range(1, len(segments) + 1)
    names = {".".join(segments[start:end]) for end in ends for start in range(end)} | {layer}
    names.update(match[1] for s in segments if (match := _PROJECTIONS.match(s)))
    for words in (_STREAMS, _MEDIA):
        names.update(word for word, pattern in words.items() if any(pattern.search(s) for s in segments))
    if any(_ROLES["mlp"].search(s) for s in segments):
        names.add("mlp")
    elif any(_ROLES["attn"].search(s) for s in segments):
        names.add("attn")
    return frozenset(name for name in names if name)


class BlockLayout:
    """The containers of one model and how many blocks each holds, in the model's own order."""

    def __init__(self, keys: Iterable[str], text_encoder_keys: Iterable[str] = ()) -> None:
        """Find the repeated containers among ``keys``.

        Args:
            keys: State-dict keys of the diffusion model, with or without ``diffusion_model.``.
            text_encoder_keys: State-dict keys of the text encoder, if there is one.
        """
        self._keys = tuple(keys)
        self._text_encoder_keys = frozenset(text_encoder_keys)
        self._containers = _find_containers(self._keys)
        self._text_containers = _find_containers(sorted(self._text_encoder_keys))
        self._two_streams = _two_stream_modules(self._keys)
        self._with_attention = _kinds_with_attention(self._keys, self._containers)
        self._with_sound = _kinds_with_sound(self._keys, self._containers)
        self._places: dict[str, Place] = {}

    @property
    def kinds(self) -> dict[str, int]:
        """Number of blocks of each kind, in the order in which the model lists them."""
        return {kind: len(indices) for kind, indices in self._containers.items()}

    @property
    def blocks(self) -> tuple[BlockId, ...]:
        """Every block in order."""
        return tuple(BlockId(kind, index) for kind, indices in self._containers.items() for index in indices)

    @property
    def text_kinds(self) -> dict[str, int]:
        """The same for the text encoders: ``clip_l.transformer.text_model.encoder.layers`` to 12."""
        return {kind: len(indices) for kind, indices in self._text_containers.items()}

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the text encoders, as their keys begin."""
        return tuple(sorted({key.partition(".")[0] for key in self._text_encoder_keys}))

    @property
    def has_text_encoder(self) -> bool:
        """Whether text-encoder keys were given."""
        return bool(self._text_encoder_keys)

    def place(self, key: str) -> Place:
        """Where ``key`` lies. Works for keys that the model does not have, by the same containers."""
        known = self._places.get(key)
        if known is None:
            known = self._find(key)
            if len(self._places) < 2 * (len(self._keys) + len(self._text_encoder_keys)):  # a file may name anything
                self._places[key] = known
        return known

    def _find(self, key: str) -> Place:
        if key in self._text_encoder_keys:
            block, inside = _split_block(key, self._text_containers)
            inner = _strip_parameter(inside if block else key.partition(".")[2])
            return Place(key, block, _strip_parameter(key), text_encoder=True, inner=inner)
        block, inside = _split_block(key.removeprefix(MODEL_PREFIX), self._containers)
        layer = _strip_parameter(inside)
        if block and block.kind in self._with_sound and not layer_parts(layer) & _MEDIA.keys():
            return Place(key, block, layer, extra=_VIDEO)
        if block and layer in _FLUX_LINEARS and block.kind in self._with_attention:
            return Place(key, block, layer, extra=_MLP, beside_attention=True)
        module = layer.rpartition(".")[0]
        if block and module:
            while module and f"{block.kind}/{module}" not in self._two_streams:
                module = module.rpartition(".")[0]
            if module and not layer_parts(layer) & _STREAMS.keys():
                return Place(key, block, layer, extra=_IMAGE)
        return Place(key, block, layer)

    def position(self, place: Place) -> tuple[int, int]:
        """Where a block stands in its container, from 0, and how many blocks that has."""
        if place.block is None:
            return 0, 1
        containers = self._text_containers if place.text_encoder else self._containers
        indices = containers[place.block.kind]
        return bisect_left(indices, place.block.index), len(indices)

    def places(self) -> tuple[Place, ...]:
        """The place of every key of the model."""
        return tuple(self.place(key) for key in (*self._keys, *sorted(self._text_encoder_keys)))

    def describe(self) -> str:
        """What the model has, for error messages: ``double_blocks.0-4, single_blocks.0-19, other``."""
        names = [_describe_range(kind, indices) for kind, indices in self._containers.items()]
        return ", ".join([*names, OTHER, *([TEXT_ENCODER] if self.has_text_encoder else [])])

    def describe_text_encoders(self) -> str:
        """The same for the text encoders: ``te.clip_l.layers.0-11, te.t5xxl.block.0-23, te.other``."""
        names = []
        for kind, indices in self._text_containers.items():
            encoder, _, path = kind.partition(".")
            names.append(_describe_range(f"{TEXT_ENCODER}.{encoder}.{path.rpartition('.')[2]}", indices))
        return ", ".join([*names, f"{TEXT_ENCODER}.{OTHER}"])


def _describe_range(kind: str, indices: tuple[int, ...]) -> str:
    return f"{kind}.{indices[0]}" if len(indices) == 1 else f"{kind}.{indices[0]}-{indices[-1]}"


def _split_block(path: str, containers: dict[str, tuple[int, ...]]) -> tuple[BlockId | None, str]:
    """The block that a path lies in, and the rest of the path."""
    segments = path.split(".")
    for position in range(1, len(segments)):
        index = _index(segments, position)
        if index is None:
            continue
        kind = ".".join(segments[:position])
        if kind in containers:
            return BlockId(kind, index), ".".join(segments[position + 1 :])
    return None, path


def _index(segments: list[str], position: int) -> int | None:
    """The number that a segment of a path is: ``7`` in ``blocks.7``, also spelled ``blocks.block7`` (Cosmos)."""
    segment, container = segments[position], segments[position - 1]
    if segment.isdigit():
        return int(segment)
    word = container.removesuffix("s")
    number = segment.removeprefix(word)
    return int(number) if word not in ("", container) and number != segment and number.isdigit() else None


_IMAGE = frozenset({"img"})
_MLP = frozenset({"mlp"})
_VIDEO = frozenset({"video"})
_FLUX_LINEARS = ("linear1", "linear2")
"""In a single block of FLUX these hold its attention and its MLP; elsewhere they are an MLP."""


def _kinds_with_attention(keys: Iterable[str], containers: dict[str, tuple[int, ...]]) -> frozenset[str]:
    """Containers whose blocks have attention layers that are called so."""
    found: set[str] = set()
    for key in keys:
        block, inside = _split_block(key.removeprefix(MODEL_PREFIX), containers)
        if block and block.kind not in found and _ROLES["attn"].search(inside.partition(".")[0]):
            found.add(block.kind)
    return frozenset(found)


def _kinds_with_sound(keys: Iterable[str], containers: dict[str, tuple[int, ...]]) -> frozenset[str]:
    """Containers whose blocks have layers for sound beside others (LTX-2)."""
    found: set[str] = set()
    for key in keys:
        if "audio_" in key:
            block, inside = _split_block(key.removeprefix(MODEL_PREFIX), containers)
            if block and any(_MEDIA["audio"].search(segment) for segment in inside.split(".")):
                found.add(block.kind)
    return frozenset(found)


def _two_stream_modules(keys: Iterable[str]) -> frozenset[str]:
    """Modules inside blocks (as ``kind/module``) that name only the layers of the text stream, such as Qwen-Image's
    ``attn`` with ``add_q_proj`` beside ``to_q``: what has no stream in them belongs to the image."""
    found: set[str] = set()
    for key in keys:
        segments = key.removeprefix(MODEL_PREFIX).split(".")
        for position, segment in enumerate(segments):
            if position > 2 and _STREAMS["txt"].search(segment):
                numbers = [i for i in range(1, position - 1) if segments[i].isdigit()]
                if numbers:
                    first = numbers[0]
                    found.add(f"{'.'.join(segments[:first])}/{'.'.join(segments[first + 1 : position])}")
    return frozenset(found)


def _strip_parameter(path: str) -> str:
    head, _, last = path.rpartition(".")
    return head if last in _PARAMETERS else path


def _find_containers(keys: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Outermost ``<path>.<number>`` prefixes that count from 0 and whose entries have named children.

    ``final_layer.adaLN_modulation.1.weight`` is a step of a sequence, not a block: nothing named follows its number.
    """
    indices: dict[str, set[int]] = {}
    named: set[str] = set()
    for key in keys:
        segments = key.removeprefix(MODEL_PREFIX).split(".")
        for position in range(1, len(segments) - 1):
            index = _index(segments, position)
            if index is None:
                continue
            kind = ".".join(segments[:position])
            indices.setdefault(kind, set()).add(index)
            rest = segments[position + 1 : -1] if segments[-1] in _PARAMETERS else segments[position + 1 :]
            if any(not segment.isdigit() for segment in rest):
                named.add(kind)
                break
    starts_at_zero = (kind for kind in indices if kind in named and 0 in indices[kind])
    outermost = [k for k in starts_at_zero if not any(_inside(k, other) for other in named if other != k)]
    return {kind: tuple(sorted(indices[kind])) for kind in outermost}


def _inside(kind: str, other: str) -> bool:
    if not kind.startswith(other + "."):
        return False
    return _index([other.rpartition(".")[2], kind[len(other) + 1 :].partition(".")[0]], 1) is not None
