"""The pictures of a sweep as they are compared and shown: made small, and all of them as one labelled sheet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..images.sheet import SheetCell, labelled_sheet
from .bench import Bench, Dropped
from .modes import KNOCK_OUT, SOLO
from .table import SweepTable

SIDE = 256
"""Pictures are compared at no more than so many pixels a side: larger ones are averaged down. A shift of fine grain by
a pixel is then no difference, and a comparison takes no time beside a sampling step."""
SHOWN_SCENES = 3
COLUMNS = 4
MOST_CELLS = 60


def small_picture(picture: Tensor) -> Tensor:
    """A picture [height, width, 3] with at most ``SIDE`` pixels a side."""
    height, width = picture.shape[:2]
    largest = max(height, width)
    if largest <= SIDE:
        return picture.contiguous()
    size = (max(1, round(height * SIDE / largest)), max(1, round(width * SIDE / largest)))
    channels = picture.movedim(-1, 0)[None]
    return torch.nn.functional.interpolate(channels, size, mode="area")[0].movedim(0, -1).contiguous()


def sweep_sheet(
    bench: Bench, table: SweepTable, settings: Sequence[Dropped | None], result: Dropped, title: str
) -> Tensor:
    """One picture of all settings: the whole LoRA, the result, without the LoRA, then unit by unit, the largest first.

    Args:
        settings: By unit: the setting that shows it, or ``None``.
        result: The units that are left out in the end.

    Returns:
        [height, width, 3] in 0..1; a single grey cell where latents were compared.
    """
    if not table.pictures:
        return labelled_sheet([[SheetCell()]], [""], [""], title, ["Connect a VAE to see pictures here."])
    missed = f"misses {_percent(table.missed.mean)}"
    cells = [
        SheetCell(_strip(bench, frozenset()), ("the whole LoRA", "0 %"), marked=True),
        SheetCell(_strip(bench, result), (f"{table.kept} of {len(table.rows)} units", missed)),
        SheetCell(_strip(bench, bench.everything), ("without the LoRA", "misses 100 %")),
    ]
    known = [(row, setting) for row, setting in zip(table.rows, settings, strict=True) if setting is not None]
    known.sort(key=lambda entry: -entry[0].effect.mean if entry[0].effect is not None else 0.0)
    for row, setting in known[: MOST_CELLS - len(cells)]:
        effect = "" if row.effect is None else _percent(row.effect.mean)
        if table.mode == SOLO:
            lines = (f"only {row.name}", f"makes {effect}")
        elif table.mode == KNOCK_OUT:
            lines = (f"without {row.name}", f"misses {effect}")
        else:
            more = f" and {row.given_others} more" if row.given_others else ""
            lines = (f"without {row.name}{more}", f"{effect} from this one")
        cells.append(SheetCell(_strip(bench, setting), lines))
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    return labelled_sheet(rows, [""] * min(COLUMNS, len(cells)), [""] * len(rows), title)


def _strip(bench: Bench, setting: Dropped) -> Tensor:
    """The pictures of the first scenes side by side."""
    pictures = bench.pictures(setting)[:SHOWN_SCENES]
    height = min(picture.shape[0] for picture in pictures)
    return torch.cat([picture[:height] for picture in pictures], dim=1)


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"
