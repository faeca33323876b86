"""Names and shapes of a model or a LoRA, in one spelling, so that one table of architectures fits both."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from .literals import find_line, find_lines

_PREFIXES = (
    "base_model.model.", "model.diffusion_model.", "diffusion_model.", "lora_unet_", "lora_transformer_",
    "lycoris_", "transformer.", "unet.", "unet_", "net.", "model.", "lora_prior_unet_", "Hunyuan_video_I2V_lora_",
    "conditional_transformer.",
)  # fmt: skip
PREFIX_WORDS = frozenset(prefix.replace(".", "_").partition("_")[0] for prefix in _PREFIXES)
"""What they begin with, up to the first dot or underscore."""
_TEXT_ENCODER = re.compile(
    r"^(?:lora_te\d?_|lora_prior_te|text_encoders?[._\d]|text_encoder:|te\d?[._]|conditioner\.|cond_stage_model\."
    r"|clip_[lgh]\.|(?:base_model\.model\.)?text_model\.)"
)
_INDEX = re.compile(r"_\d+(?=_)")
_DIGIT = re.compile(r"\d")
_CONTAINER = re.compile(r"^([a-z][a-z_]*?)_(\d+)(?:_|$)", re.IGNORECASE)
_INNER = re.compile(r"_transformer_blocks_(\d+)_")
_MAX_NAMES = 200_000


def is_text_encoder_name(name: str) -> bool:
    """Whether a layer of a LoRA or a tensor of a checkpoint belongs to a text encoder."""
    return _TEXT_ENCODER.match(name) is not None


def has_prefix(name: str) -> bool:
    """Whether tools put something before a layer name, written with dots or underscores."""
    return name.startswith(_PREFIXES) or name.replace(".", "_").startswith(_PREFIXES)


def may_get_prefix(container: str) -> bool:
    """Whether :func:`has_prefix` may hold for a layer in a container of this name."""
    begins = (f"{container}.", f"{container.replace('.', '_')}_")
    return any(text.startswith(_PREFIXES) or any(p.startswith(text) for p in _PREFIXES) for text in begins)


def strip_prefix(name: str) -> str:
    """A layer name without what tools put before it: ``lora_unet_double_blocks_0`` to ``double_blocks_0``."""
    for _ in range(3):
        if not name.startswith(_PREFIXES):
            return name
        name = next(name[len(prefix) :] for prefix in _PREFIXES if name.startswith(prefix))
    return name


@dataclass(frozen=True)
class Facts:
    """What the table of architectures looks at. In names, dots are underscores and block numbers are ``#``."""

    text: str
    """Every distinct name on a line of its own."""
    shapes: Mapping[str, tuple[int | None, int | None]]
    """Rows and columns of the first layer of each name."""
    blocks: Mapping[str, int]
    """Highest block number + 1 of each outer container."""
    inner_depth: int = 0
    """Highest number of a transformer block inside a UNet block, + 1."""
    in_widths: frozenset[int] = frozenset()
    whole: bool = False
    """Whether this is a whole model (counts are exact) or a LoRA (counts are lower bounds)."""
    said: str = ""
    """What the file's metadata say that it was trained on; chooses among families that fit alike, never against."""
    _found: dict[str, str] = field(default_factory=dict[str, str], repr=False, compare=False)

    def find(self, pattern: str) -> str:
        """The first name in which ``pattern`` occurs, or an empty text. ``^`` and ``$`` are the ends of a name."""
        if pattern not in self._found:
            self._found[pattern] = find_line(pattern, f"\n{self.text}\n")
        return self._found[pattern]

    def names(self, pattern: str) -> list[str]:
        """Every name in which ``pattern`` occurs."""
        return list(find_lines(pattern, self.shapes)) if self.find(pattern) else []

    def columns(self, *patterns: str) -> int | None:
        """Columns of the first layer found that has a known width."""
        return next((c for p in patterns for n in self.names(p) if (c := self.shapes[n][1])), None)

    def rows(self, *patterns: str) -> int | None:
        """Rows of the first layer found that has a known height."""
        return next((r for p in patterns for n in self.names(p) if (r := self.shapes[n][0])), None)


def _parse(name: str) -> tuple[str, str, int, int]:
    """Name in the one spelling, container and block number + 1, number + 1 of a transformer block inside."""
    flat = strip_prefix(name).replace(".", "_")
    match = _CONTAINER.match(flat)
    known = match is not None and len(match[2]) < 5
    inner = _INNER.search(flat)
    return (
        _INDEX.sub("_#", flat),
        match[1] if match and known else "",
        int(match[2]) + 1 if match and known else 0,
        int(inner[1]) + 1 if inner and len(inner[1]) < 5 else 0,
    )


def flat_names(name: str) -> Collection[str]:
    """How a layer name, ``#`` for block numbers, may stand in :attr:`Facts.text`: written with dots or underscores."""
    flat = name.replace(".", "_")
    if not has_prefix(name):
        return (numbered(flat),)
    bare = strip_prefix(name).replace(".", "_")
    return frozenset([numbered(text) for text in {bare, flat, strip_prefix(flat)}])


def numbered(flat: str) -> str:
    """A flat name with ``#`` for every number inside, as :func:`_parse` leaves it."""
    if not _DIGIT.search(flat) and flat.count("#") == flat.count("_#_"):
        return flat
    return _INDEX.sub("_#", flat.replace("#", "0"))


# The files of a collection share most of their names; long ones of a hostile file would fill the memory.
_CACHED_LENGTH = 160
_parse_cached = lru_cache(16_384)(_parse)


def collect_facts(layers: Iterable[tuple[str, int | None, int | None]], whole: bool, said: str = "") -> Facts:
    """Facts from ``(name, rows, columns)``; names without parameter (``.weight``), text encoders left out."""
    shapes: dict[str, tuple[int | None, int | None]] = {}
    blocks: dict[str, int] = {}
    widths: set[int] = set()
    depth = 0
    for number, (name, rows, columns) in enumerate(layers):
        if number >= _MAX_NAMES:
            break
        collapsed, kind, count, inner = _parse_cached(name) if len(name) <= _CACHED_LENGTH else _parse(name)
        if kind and count > blocks.get(kind, 0):
            blocks[kind] = count
        depth = max(depth, inner)
        if columns:
            widths.add(columns)
        if collapsed not in shapes or shapes[collapsed] == (None, None):
            shapes[collapsed] = (rows, columns)
    return Facts("\n".join(shapes), shapes, blocks, depth, frozenset(widths), whole, said)
