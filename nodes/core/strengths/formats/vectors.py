"""Formats that are a list of numbers: ``NAME:1,0,0.5,...`` of LoRA Block Weight, and kohya's ``--lbws "[1,0,...]"``.

How their programs read them, and so how they are read here:

* sd-webui-lora-block-weight (hako-mikan): blocks by name. BASE is the text encoder; a block that the short lists leave
  out (IN00, IN03, ...) gets **0**; what lies in no block keeps 1. In FLUX's list, IN is ``*_in``, OUT ``final_layer``.
* Inspire Pack: the n-th value goes to the n-th block **that the LoRA has**, so a list means these blocks only for a
  LoRA that has all of them. BASE is everything else, text encoder included. After the last value, the last one goes on.
* kohya ``svd_merge_lora.py --lbws``: blocks by name, BASE is the text encoder, blocks that a list leaves out keep
  **1**. In SDXL's list of 20, IN00 also scales ``time_embed`` and ``label_emb``.
* Flux Block Weight Remerger: all double, then all single blocks, no BASE.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from ...errors import BlockStrengthError
from .base import Cell, Reading, StrengthFormat, cell_value, decimal_text, read_number, strip_comments
from .families import Family, family

_SD_IN, _SD_OUT = (1, 2, 4, 5, 7, 8), tuple(range(3, 12))
_XL_IN, _XL_OUT = (4, 5, 7, 8), tuple(range(6))


def _ins(indices: Sequence[int]) -> list[Cell]:
    return [(f"input_blocks.{i}",) for i in indices]


def _outs(indices: Sequence[int]) -> list[Cell]:
    return [(f"output_blocks.{i}",) for i in indices]


_MID: Cell = ("middle_block",)
_MIDS: list[Cell] = [(f"middle_block.{i}",) for i in range(3)]


def _flux_cells(double: int, single: int) -> list[Cell]:
    return [*((f"double_blocks.{i}",) for i in range(double)), *((f"single_blocks.{i}",) for i in range(single))]


def _vector_format(
    id_: str,
    label: str,
    note: str,
    family_id: str,
    cells: list[Cell],
    before: tuple[tuple[str, float], ...] = (),
    counted: bool = False,
) -> StrengthFormat:
    """A named list of numbers.

    Args:
        before: What the format implies before its values are set.
        counted: Whether shorter lists go on with their last value (Inspire).
    """

    def read(text: str) -> Reading:
        name, values = _split_line(text, label)
        lost: list[str] = []
        numbers = [read_number(cell, f"{label}, value {i}") for i, cell in enumerate(values, 1)]
        if counted:
            if len(numbers) < 12:
                raise BlockStrengthError(f"{label}: expected 12 to {len(cells)} numbers, got {len(numbers)}.")
            lost += [f"value {i} ({x}) is beyond the last block." for i, x in enumerate(values, 1) if i > len(cells)]
            numbers += [numbers[-1]] * (len(cells) - len(numbers))
        elif len(numbers) != len(cells):
            raise BlockStrengthError(f"{label}: expected {len(cells)} numbers, got {len(numbers)}.")
        settings = [(selector, value) for cell, value in zip(cells, numbers, strict=False) for selector in cell]
        settings = [(s, value) for s, value in settings if (s.rpartition(".")[0], value) not in before]
        notes = (note, f'The name in the line is "{name}".') if name else (note,)
        return Reading((*before, *_in_model_order(settings, family_id)), tuple(lost), notes)

    def write(values: Sequence[float], chosen: Family, source: str) -> str:
        del source
        return ",".join(decimal_text(cell_value(values, chosen, cell)) for cell in cells)

    example = "NAME:" + ",".join("1" for _ in cells[:3]) + f",... ({len(cells)} numbers)"
    return StrengthFormat(id_, label, note, example, family_id, read, write)


def _in_model_order(settings: list[tuple[str, float]], family_id: str) -> list[tuple[str, float]]:
    """Blocks that the model does not have are left out: nothing can be there."""
    return [(selector, value) for selector, value in settings if family(family_id).units_of(selector)]


def _split_line(text: str, label: str) -> tuple[str, list[str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    if len(lines) != 1:
        raise BlockStrengthError(
            f"{label}: expected one line, NAME:1,0,... or 1,0,..., got {len(lines)}. Keep one line."
        )
    name, colon, values = lines[0].rpartition(":")
    if name.startswith("@"):
        raise BlockStrengthError(f"{label}: a line that begins with @ is a series for a plot, not block strengths.")
    return name.strip() if colon else "", [cell.strip() for cell in values.split(",")]


def _hako() -> list[StrengthFormat]:
    note = "BASE is the text encoder, blocks that the list leaves out are 0, and layers in no block stay 1."
    layouts = {
        "17": ("sd", _ins(_SD_IN), _outs(_SD_OUT)),
        "26": ("sd", _ins(range(12)), _outs(range(12))),
        "12": ("sdxl", _ins(_XL_IN), _outs(_XL_OUT)),
        "20": ("sdxl", _ins(range(9)), _outs(range(9))),
    }
    formats = []
    for count, (family_id, ins, outs) in layouts.items():
        label = f"LBW (sd-webui), {count} values, {'SDXL' if family_id == 'sdxl' else 'SD 1.5 and 2.x'}"
        off = (("input_blocks", 0.0), ("output_blocks", 0.0)) if count in ("17", "12") else ()
        cells = [("te",), *ins, _MID, *outs]
        formats.append(_vector_format(f"lbw.hako.{family_id}.{count}", label, note, family_id, cells, off))
    cells = [("te.clip_l",), ("te.t5xxl",), ("other",), *_flux_cells(19, 38), ("other.final_layer",)]
    note = "CLIP, T5, IN (img_in, txt_in, time_in, vector_in, guidance_in), the blocks, OUT (final_layer)."
    label = "LBW (sd-webui), 61 values, FLUX.1"
    flux = _vector_format("lbw.hako.flux1.61", label, note, "flux1", cells)
    return [*formats, StrengthFormat(flux.id, label, note, flux.example, "flux1", flux.read, _write_hako_flux(cells))]


def _write_hako_flux(cells: list[Cell]) -> Callable[[Sequence[float], Family, str], str]:
    """IN is ``other`` without the final layer, which has a value of its own."""
    inputs: Cell = tuple(f"other.{name}" for name in ("img_in", "txt_in", "time_in", "vector_in", "guidance_in"))

    def write(values: Sequence[float], chosen: Family, source: str) -> str:
        del source
        asked = [inputs if cell == ("other",) else cell for cell in cells]
        return ",".join(decimal_text(cell_value(values, chosen, cell)) for cell in asked)

    return write


INSPIRE_BLOCKS: dict[str, tuple[str, str, list[Cell]]] = {
    "sd": ("sd", "SD 1.5 and 2.x", [*_ins(_SD_IN), ("middle_block.1",), *_outs(_SD_OUT)]),
    "sd-lycoris": ("sd", "SD 1.5 and 2.x LyCORIS", [*_ins(range(1, 12)), *_MIDS, *_outs(range(12))]),
    "sdxl": ("sdxl", "SDXL", [*_ins(_XL_IN), ("middle_block.1",), *_outs(_XL_OUT)]),
    "sdxl-lycoris": ("sdxl", "SDXL LyCORIS", [*_ins(range(1, 9)), *_MIDS, *_outs(range(9))]),
    "flux1": ("flux1", "FLUX.1", _flux_cells(19, 38)),
    "klein4b": ("klein4b", "FLUX.2 Klein 4B", _flux_cells(5, 20)),
    "klein9b": ("klein9b", "FLUX.2 Klein 9B", _flux_cells(8, 24)),
    "hunyuan": ("hunyuan", "HunyuanVideo", _flux_cells(20, 40)),
}
"""What a LoRA of this kind usually has, in Inspire's order: family, label, blocks."""


def _inspire() -> list[StrengthFormat]:
    formats = []
    for id_, (family_id, words, blocks) in INSPIRE_BLOCKS.items():
        label = f"LBW (Inspire), {words}"
        note = (
            "Inspire counts only the blocks that a LoRA has, so this means the same for a LoRA that has all "
            f"{len(blocks)}. BASE is everything else, the text encoder too."
        )
        cells: list[Cell] = [("te", "other"), *blocks]
        formats.append(_vector_format(f"lbw.inspire.{id_}", label, note, family_id, cells, counted=True))
    return formats


def _remerger() -> list[StrengthFormat]:
    note = "All double, then all single blocks; the text encoder and layers in no block stay 1."
    return [
        _vector_format("lbw.remerger.flux1.57", "Remerger, 57 values, FLUX.1", note, "flux1", _flux_cells(19, 38)),
        _vector_format(
            "lbw.remerger.flux1.19",
            "Remerger, 19 values, FLUX.1 double blocks",
            "The double blocks; everything else stays 1.",
            "flux1",
            _flux_cells(19, 0),
        ),
    ]


def _kohya() -> list[StrengthFormat]:
    layouts: dict[str, tuple[str, list[Cell]]] = {
        "17": ("sd", [("te",), *_ins(_SD_IN), _MID, *_outs(_SD_OUT)]),
        "26": ("sd", [("te",), *_ins(range(12)), _MID, *_outs(range(12))]),
        "12": ("sdxl", [("te",), *_ins(_XL_IN), _MID, *_outs(_XL_OUT)]),
        "20": (
            "sdxl",
            [
                ("te",),
                ("input_blocks.0", "other.time_embed", "other.label_emb"),
                *_ins(range(1, 9)),
                _MID,
                *_outs(range(9)),
            ],
        ),
    }
    note = "BASE is the text encoder; blocks that the list leaves out stay 1."
    formats = []
    for count, (family_id, cells) in layouts.items():
        label = f"kohya --lbws, {count} values, {'SDXL' if family_id == 'sdxl' else 'SD 1.5 and 2.x'}"
        plain = _vector_format(f"kohya.lbws.{family_id}.{count}", label, note, family_id, cells)
        formats.append(_bracketed(plain, len(cells)))
    return formats


def _bracketed(plain: StrengthFormat, count: int) -> StrengthFormat:
    """The same as a JSON list."""

    def read(text: str) -> Reading:
        try:
            values: Any = json.loads(strip_comments(text))
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or not all(_is_number(x) for x in cast("list[Any]", values)):
            raise BlockStrengthError(
                f'{plain.label}: expected a list of {count} numbers in brackets, as in "[1,0,0.5,...]".'
            )
        return plain.read(",".join(decimal_text(float(x)) for x in cast("list[float]", values)))

    def write(values: Sequence[float], chosen: Family, source: str) -> str:
        return f"[{plain.write(values, chosen, source)}]"

    example = f"[1,0,0.5,...] ({count} numbers)"
    return StrengthFormat(plain.id, plain.label, plain.note, example, plain.family_id, read, write)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def vector_formats() -> list[StrengthFormat]:
    """All formats of this module, in the order of the menu."""
    return [*_hako(), *_inspire(), *_remerger(), *_kohya()]
