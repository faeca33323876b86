"""Formats that are JSON: KJNodes' selected blocks, TuZZiL's layer strengths, diffusers' nested scales.

How their programs read them, and so how they are read here:

* KJNodes ``SELECTEDDITBLOCKS`` ``{"double_blocks.0.": 16, ...}``: the value **replaces the LoRA's alpha**, so the
  strength is value / alpha; 0 takes the block away, a block that is not named keeps its alpha. The file's alpha (its
  rank where it has none) stands in a comment ``# alpha=16``.
* TuZZiL ``{"db": {"0": {"img": 1.2, "txt": 0.8}}, "sb": {"0": 0.9}}``: the strength itself, at strength_model 1; what
  is not named stays. ``txt`` is txt_attn and txt_mlp.
* diffusers ``set_adapters`` ``{"unet": {"down": 0.5, "mid": 1, "up": {"block_0": [1, 0.5, 1]}}, "text_encoder": 0.5}``:
  blocks by their transformers. A residual block takes the scale of the transformer of its number, a down- or upsampler
  that of the first one in its block; the middle block's residual blocks and all that is not named have 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ...errors import BlockStrengthError
from ..text import format_number
from .base import Reading, StrengthFormat, cell_value, decimal_text, strip_comments, text_setting
from .families import FAMILY_LABELS, Family

_KJ_KINDS = {
    "flux1": (("double_blocks", 19), ("single_blocks", 38)),
    "klein4b": (("double_blocks", 5), ("single_blocks", 20)),
    "klein9b": (("double_blocks", 8), ("single_blocks", 24)),
    "hunyuan": (("double_blocks", 20), ("single_blocks", 40)),
    "wan": (("blocks", 40),),
    "ltx2": (("blocks", 48),),
}
"""Names of KJNodes' selectors and how many it has of each."""


def _kj_blocks(family_id: str, kind: str, index: int) -> tuple[str, ...]:
    """The blocks that a selector means: all whose keys contain it, as KJNodes looks for it."""
    if family_id != "ltx2":
        return (f"{kind}.{index}",)
    sides = [f"{side}_embeddings_connector.transformer_1d_blocks.{index}" for side in ("audio", "video")]
    return (f"transformer_blocks.{index}", *(sides if index < 2 else ()))


def _parse(text: str, label: str, example: str) -> dict[str, Any]:
    try:
        data: Any = json.loads(strip_comments(text))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BlockStrengthError(f"{label}: expected JSON as in {example}.")
    return cast("dict[str, Any]", data)


def _number(value: Any) -> float | None:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30
    return float(value) if plain else None


def _dump(value: Any) -> str:
    """JSON with numbers as short as they can be."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return "{" + ", ".join(f'"{key}": {_dump(item)}' for key, item in items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_dump(item) for item in cast("list[Any]", value)) + "]"
    return decimal_text(float(value))


def _kj_format(family_id: str) -> StrengthFormat:
    kinds = _KJ_KINDS[family_id]
    label = f"KJNodes selected blocks, {FAMILY_LABELS[family_id]}"
    example = f'{{"{kinds[0][0]}.0.": 16, ...}} with a line "# alpha=16"'
    note = "KJNodes replaces the LoRA's alpha by these values: the line # alpha=... says what it was."

    def read(text: str) -> Reading:
        alpha = _alpha(text, label)
        known = {f"{kind}.{i}.": _kj_blocks(family_id, kind, i) for kind, count in kinds for i in range(count)}
        lost: list[str] = []
        settings: list[tuple[str, float]] = []
        for key, value in _parse(text, label, example).items():
            number = _number(value)
            if key not in known or number is None:
                lost.append(f'"{str(key)[:60]}" is not a block of {FAMILY_LABELS[family_id]} with a number.')
            elif number != 0 and alpha is None:
                raise BlockStrengthError(
                    f'{label}: {decimal_text(number)} for "{key}" replaces the LoRA\'s alpha. Write what that was in a '
                    "line of its own, # alpha=16 (Inspect File shows it; the rank where the file has no alpha)."
                )
            else:
                settings += [(block, number / alpha if number and alpha else 0.0) for block in known[key]]
        remark = "" if alpha is None else f"alpha={decimal_text(alpha)}"
        return Reading(tuple(settings), tuple(lost), (note,), remark)

    def write(values: Sequence[float], chosen: Family, source: str) -> str:
        alpha = _alpha(source, label)
        cells = {f"{k}.{i}.": _kj_blocks(family_id, k, i) for k, count in kinds for i in range(count)}
        data = {key: cell_value(values, chosen, cell) for key, cell in cells.items()}
        if alpha is None and any(data.values()):
            raise BlockStrengthError(
                f"{label}: KJNodes expects alphas, not strengths. Add the LoRA's alpha (or rank if it has none) as a "
                "line of its own, # alpha=16."
            )
        head = "" if alpha is None else f"# alpha={decimal_text(alpha)}\n"
        return head + _dump({key: value * (alpha or 0.0) for key, value in data.items()})

    return StrengthFormat(f"kj.blocks.{family_id}", label, note, example, family_id, read, write)


def _alpha(text: str, label: str) -> float | None:
    stated = text_setting(text, "alpha")
    if not stated:
        return None
    try:
        alpha = float(stated)
    except ValueError:
        alpha = 0.0
    if not 0 < alpha < 1e6:
        raise BlockStrengthError(f'{label}: "# alpha={stated[:20]}" is not a number above 0.')
    return alpha


def _tuz_format() -> StrengthFormat:
    label = "TuZZiL layer strengths, FLUX.2 Klein 9B"
    example = '{"db": {"0": {"img": 1.2, "txt": 0.8}}, "sb": {"0": 0.9}}'
    note = "The values are final strengths there: the same as here with strength_model at 1."

    def read(text: str) -> Reading:
        data = _parse(text, label, example)
        lost = [f'"{key[:60]}" means nothing here.' for key in data if key not in ("db", "sb")]
        settings: list[tuple[str, float]] = []
        for key, kind, count in (("db", "double_blocks", 8), ("sb", "single_blocks", 24)):
            part = data.get(key, {})
            blocks = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
            if not isinstance(part, dict):
                lost.append(f'"{key}" is not a list of blocks by number.')
            for index, value in blocks.items():
                known = str(index).isdigit() and int(index) < count
                found = _tuz_block(f"{kind}.{index}", value, streams=key == "db") if known else None
                if found is None:
                    family_name = FAMILY_LABELS["klein9b"]
                    lost.append(f'"{key}" "{str(index)[:20]}" is not a block of {family_name} with numbers.')
                settings += found or []
        return Reading(tuple(settings), tuple(lost), (note,))

    def write(values: Sequence[float], chosen: Family, source: str) -> str:
        del source
        double = {
            str(i): {s: cell_value(values, chosen, (f"double_blocks.{i}.{s}",)) for s in ("img", "txt")}
            for i in range(8)
        }
        single = {str(i): cell_value(values, chosen, (f"single_blocks.{i}",)) for i in range(24)}
        return _dump({"db": double, "sb": single})

    return StrengthFormat("tuz.klein9b", label, note, example, "klein9b", read, write)


def _tuz_block(block: str, value: Any, streams: bool) -> list[tuple[str, float]] | None:
    number = _number(value)
    if number is not None:
        return [(block, number)]
    if not streams or not isinstance(value, dict):
        return None
    sides = {side: _number(x) for side, x in cast("dict[str, Any]", value).items() if side in ("img", "txt")}
    if len(sides) != len(cast("dict[str, Any]", value)) or None in sides.values():
        return None
    return [(f"{block}.{side}", x) for side, x in sides.items() if x is not None]


_UNETS = {"sd": ((0, 1, 2), (1, 2, 3)), "sdxl": ((1, 2), (0, 1))}
"""Numbers of the down and up blocks that have transformers; two and three in each."""
_SIZES = {"down": 2, "up": 3}
_ENCODERS = {"sd": {"text_encoder": "te"}, "sdxl": {"text_encoder": "te.clip_l", "text_encoder_2": "te.clip_g"}}


def _diffusers_format(family_id: str) -> StrengthFormat:
    label = f"diffusers set_adapters, {FAMILY_LABELS[family_id]}"
    example = '{"unet": {"down": 0.5, "mid": 1, "up": {"block_0": [1, 0.5, 1]}}, "text_encoder": 0.5}'
    note = "Blocks are named by their transformers; what diffusers cannot name stays 1 there."
    encoders = _ENCODERS[family_id]

    def read(text: str) -> Reading:
        data = _parse(text, label, example)
        if not data.keys() & {"unet", *encoders} and data.keys() & {"down", "mid", "up"}:
            data = {"unet": data}
        settings: list[tuple[str, float]] = []
        lost: list[str] = []
        for key, value in data.items():
            number = _number(value)
            if key in encoders and number is not None:
                settings.append((encoders[key], number))
            elif key == "unet" and number is not None:
                kinds = ("input_blocks", "middle_block", "output_blocks", "other")
                settings += [(kind, number) for kind in kinds]
            elif key == "unet" and isinstance(value, dict):
                found, unread = _read_unet(cast("dict[str, Any]", value), family_id, label)
                settings, lost = settings + found, lost + unread
            else:
                lost.append(f'"{key[:60]}" is not a part of {FAMILY_LABELS[family_id]} with readable scales.')
        return Reading(tuple(settings), tuple(lost), (note,))

    def write(values: Sequence[float], chosen: Family, source: str) -> str:
        del source
        unet: dict[str, Any] = {"mid": cell_value(values, chosen, ("middle_block.1",))}
        for way, blocks in zip(("down", "up"), _UNETS[family_id], strict=True):
            unet[way] = {
                f"block_{b}": [cell_value(values, chosen, (_block(way, b, i),)) for i in range(_SIZES[way])]
                for b in blocks
            }
        text = {key: cell_value(values, chosen, (selector,)) for key, selector in encoders.items()}
        return _dump({"unet": {way: unet[way] for way in ("down", "mid", "up")}, **text})

    return StrengthFormat(f"diffusers.{family_id}", label, note, example, family_id, read, write)


def _block(way: str, block: int, index: int) -> str:
    return f"input_blocks.{3 * block + index + 1}" if way == "down" else f"output_blocks.{3 * block + index}"


def _read_unet(scales: Mapping[str, Any], family_id: str, label: str) -> tuple[list[tuple[str, float]], list[str]]:
    """Scales of the transformers, expanded as diffusers expands them."""
    settings: list[tuple[str, float]] = []
    lost = [f'"{key[:60]}" is not down, mid or up.' for key in scales if key not in ("down", "mid", "up")]
    mid = _scales(scales.get("mid", 1.0), 1, f"{label}: mid")
    settings.append(("middle_block.1", mid[0]))
    for way, blocks in zip(("down", "up"), _UNETS[family_id], strict=True):
        given = scales.get(way, 1.0)
        named = cast("dict[str, Any]", given) if isinstance(given, dict) else {f"block_{b}": given for b in blocks}
        known = {f"block_{b}" for b in blocks}
        for name in named.keys() - known:
            raise BlockStrengthError(
                f'{label}: {way} "{name[:40]}" has no transformers, and diffusers refuses it. There are '
                f"{', '.join(sorted(known))}."
            )
        for block in blocks:
            values = _scales(named.get(f"block_{block}", 1.0), _SIZES[way], f"{label}: {way} block_{block}")
            settings += [(_block(way, block, i), value) for i, value in enumerate(values)]
            settings += _sampler(way, block, values, family_id)
    return settings, lost


def _sampler(way: str, block: int, values: list[float], family_id: str) -> list[tuple[str, float]]:
    """The down- or upsampler of a block takes the scale of the block's first transformer."""
    if way == "down":
        last = 2 if family_id == "sdxl" else 3
        return [(f"input_blocks.{3 * (block + 1)}", values[0])] if block < last else []
    is_last = block == (2 if family_id == "sdxl" else 3)
    return [] if is_last or values[0] == values[-1] else [(f"output_blocks.{3 * block + 2}.conv", values[0])]


def _scales(value: Any, count: int, where: str) -> list[float]:
    listed = cast("list[Any]", value) if isinstance(value, list) else [value]
    numbers = [_number(x) for x in listed]
    if any(x is None for x in numbers) or len(numbers) not in (1, count):
        raise BlockStrengthError(f"{where}: expected {format_number(count)} numbers or one, got {str(value)[:60]}.")
    plain = [x for x in numbers if x is not None]
    return plain * count if len(plain) == 1 else plain


def json_formats() -> list[StrengthFormat]:
    """All formats of this module, in the order of the menu."""
    return [*(_kj_format(f) for f in _KJ_KINDS), _tuz_format(), *(_diffusers_format(f) for f in _UNETS)]
