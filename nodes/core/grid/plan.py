"""Which cells a grid has, in which order they are made, and where each stands: two axes a sheet, the rest as pages."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .axes import Axis, AxisValue, GridError

MOST_CELLS = 2000
AUTO = "auto"

Index = tuple[int, ...]
"""Where a cell stands: the number of its value on each axis."""


@dataclass(frozen=True)
class GridPage:
    """One sheet: rows and columns of cells that share the value of every other axis."""

    title: str
    """What the cells share, as far as it differs between pages."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Index, ...], ...]
    """By row."""


@dataclass(frozen=True)
class GridPlan:
    """All cells of a grid."""

    axes: tuple[Axis, ...]
    """What takes longest to change comes first; the last one changes from cell to cell."""
    rows: int | None
    """Number of the axis that runs down a sheet; ``None`` for a sheet of one row."""
    columns: int | None
    """Number of the axis that runs across; ``None`` for a sheet of one column."""

    @property
    def cells(self) -> tuple[Index, ...]:
        """All cells in the order in which they are made."""
        return tuple(itertools.product(*(range(len(axis.values)) for axis in self.axes)))

    def value(self, index: Index, name: str) -> AxisValue:
        """A cell's value on the axis of this name."""
        number = next(number for number, axis in enumerate(self.axes) if axis.name == name)
        return self.axes[number].values[index[number]]

    def settings(self, index: Index) -> dict[str, str | float | int]:
        """A cell's value on every axis, by the axis's name."""
        return {axis.name: axis.values[at].value for axis, at in zip(self.axes, index, strict=True)}

    def label(self, index: Index, only: Sequence[int] | None = None) -> str:
        """``lora 000040, strength 0.75``: what tells this cell from the others."""
        numbers = [n for n, axis in enumerate(self.axes) if axis.varies] if only is None else only
        return ", ".join(f"{self.axes[n].shown} {self.axes[n].values[index[n]].label}" for n in numbers)

    @property
    def pages(self) -> tuple[GridPage, ...]:
        """The sheets, in the order of their axes."""
        shown = {self.rows, self.columns}
        others = [n for n in range(len(self.axes)) if n not in shown]
        varying = [n for n in others if self.axes[n].varies]
        made = []
        for place in itertools.product(*(range(len(self.axes[n].values)) for n in others)):
            base = [0] * len(self.axes)
            for number, at in zip(others, place, strict=True):
                base[number] = at
            made.append(self._page(base, varying))
        return tuple(made)

    def _page(self, base: list[int], varying: list[int]) -> GridPage:
        def along(number: int | None) -> range:
            return range(1 if number is None else len(self.axes[number].values))

        def heading(number: int | None, at: int) -> str:
            if number is None:
                return ""
            axis = self.axes[number]
            return f"{axis.shown} {axis.values[at].label}" if at == 0 else axis.values[at].label

        cells = []
        for row in along(self.rows):
            line = []
            for column in along(self.columns):
                index = list(base)
                if self.rows is not None:
                    index[self.rows] = row
                if self.columns is not None:
                    index[self.columns] = column
                line.append(tuple(index))
            cells.append(tuple(line))
        return GridPage(
            self.label(tuple(base), varying),
            tuple(heading(self.rows, at) for at in along(self.rows)),
            tuple(heading(self.columns, at) for at in along(self.columns)),
            tuple(cells),
        )


def plan_grid(axes: Sequence[Axis], rows: str = AUTO, columns: str = AUTO) -> GridPlan:
    """Lay out a grid.

    Args:
        axes: What takes longest to change first.
        rows: Name of the axis that runs down, or ``auto``: the first that varies, where two do.
        columns: Name of the axis that runs across, or ``auto``: the next one that varies.

    Raises:
        GridError: there is no axis, an axis is not there or asked for twice, or there are too many cells.
    """
    if not axes or not all(axis.values for axis in axes):
        raise GridError("grid: there is nothing to make; expected at least one axis with a value.")
    names = [axis.name for axis in axes]
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_CELLS:
        sizes = " x ".join(f"{len(axis.values)} ({axis.name})" for axis in axes if axis.varies)
        raise GridError(f"grid: {sizes} are {count} pictures; expected at most {MOST_CELLS}. Take values off an axis.")
    for asked, what in ((rows, "rows"), (columns, "columns")):
        if asked != AUTO and asked not in names:
            raise GridError(f'{what}: there is no axis "{asked[:40]}"; expected {AUTO} or one of {", ".join(names)}.')
    if rows == columns != AUTO:
        raise GridError(f'rows and columns: both are "{rows}"; expected two different axes.')
    free = [n for n, axis in enumerate(axes) if axis.varies and axis.name not in (rows, columns)]
    down = names.index(rows) if rows != AUTO else None
    across = names.index(columns) if columns != AUTO else None
    if down is None and free and (len(free) > 1 or across is not None):
        down = free.pop(0)
    if across is None and free:
        across = free.pop(0)
    return GridPlan(tuple(axes), down, across)


@dataclass(frozen=True)
class Reference:
    """What cells are compared with: the cell that has these values, and else the first of each axis."""

    wanted: Mapping[int, int]
    """Number of the axis to number of the value."""

    def of(self, plan: GridPlan, index: Index) -> Index:
        """The cell that ``index`` is compared with."""
        return tuple(
            self.wanted.get(number, at if axis.kept else 0)
            for number, (axis, at) in enumerate(zip(plan.axes, index, strict=True))
        )


def read_reference(text: str, axes: Sequence[Axis]) -> Reference:
    """``strength=1, lora=style-000040``: names of axes with a value or label of theirs; ``first`` is the first cell.

    Raises:
        GridError: an axis has no such value, or there is no such axis.
    """
    names = [axis.name for axis in axes]
    plain = text.strip()
    if plain.casefold() in ("first", "first cell"):
        # Where nothing but seeds and the like differs, no cell but the very first is another one's reference.
        alone = all(axis.kept for axis in axes if axis.varies)
        return Reference(dict.fromkeys(range(len(axes)), 0) if alone else {})
    pattern = re.compile(rf"(?:^|[,\n])\s*({'|'.join(map(re.escape, names))})\s*=", re.IGNORECASE)
    starts = list(pattern.finditer(plain))
    if not starts or plain[: starts[0].start()].strip():
        raise GridError(
            f'reference: "{plain[:80]}" does not name a cell; expected AXIS=VALUE with one of {", ".join(names)}, for '
            "example strength=1, or: first."
        )
    wanted: dict[int, int] = {}
    for start, end in itertools.zip_longest(starts, starts[1:]):
        number = [name.casefold() for name in names].index(start[1].casefold())
        value = plain[start.end() : end.start() if end else None].strip()
        wanted[number] = _find(value, axes[number])
    return Reference(wanted)


def _find(text: str, axis: Axis) -> int:
    for number, value in enumerate(axis.values):
        if text in (value.label, str(value.value)) or _same_number(text, value.value):
            return number
    known = ", ".join(value.label for value in axis.values[:12])
    raise GridError(f'reference: {axis.name} has no "{text[:80]}"; it has {known}.')


def _same_number(text: str, value: str | float | int) -> bool:
    try:
        return not isinstance(value, str) and float(text) == value
    except ValueError:
        return False


def content_key(parts: object) -> str:
    """A name for what depends on ``parts`` (plain data) and on nothing else."""
    told = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(told.encode(), digest_size=20).hexdigest()
