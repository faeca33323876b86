"""Block strengths over the sampling steps, as text: ``0%: all=1; 50%: double_blocks.*=0``.

Moments are separated by ``;`` or new lines: a position, a colon, and block strengths in the text form. Positions are
percents of the sampling range as ComfyUI counts it (by noise level), or steps: ``step 0: ...; step 2: ...``. Each
moment stands for itself: what it does not name has the strength of the base text, and else 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BlockStrengthError
from .text import parse_block_strengths

PERCENT, STEP = "percent", "step"
LINEAR_POINTS = 100
"""A linear change by percent is made in steps of one hundredth."""

_MOMENT = re.compile(r"^\s*(?:(?P<percent>\d+(?:\.\d+)?)\s*%|step\s+(?P<step>\d+))\s*:(?P<blocks>.*)$", re.IGNORECASE)
_EXAMPLE = "for example 0%: all=1; 50%: double_blocks.*=0"

Curve = tuple[tuple[float, float], ...]
"""``(position, strength)`` in order, each holding until the next; the first at 0."""


@dataclass(frozen=True)
class Moment:
    """What the block strengths are from a position on."""

    position: float
    """0 to 1, or a number of steps."""
    blocks: str


@dataclass(frozen=True)
class Schedule:
    """The parsed text; the first moment is at 0."""

    unit: str
    moments: tuple[Moment, ...]

    def texts(self, base: str) -> list[str]:
        """The whole block strengths of each moment: the base text, then the moment's own items, which win."""
        return [",".join(part for part in (_one_line(base), moment.blocks) if part) for moment in self.moments]

    def curve(self, values: Sequence[float], linear: bool, start: float = 0.0, end: float = 1.0) -> Curve:
        """Strength over position.

        Args:
            values: Strength at each moment.
            linear: Change evenly from one moment to the next instead of jumping.
            start, end: By percent only; the strength is 0 before ``start`` and from ``end`` on.
        """
        points = list(zip((moment.position for moment in self.moments), map(float, values), strict=True))
        points = _fill(points, 1 if self.unit == STEP else 1 / LINEAR_POINTS) if linear else points
        if self.unit == PERCENT and (start > 0 or end < 1):
            at_start = max((p for p in points if p[0] <= start), key=lambda p: p[0])[1]
            inside = [(start, at_start), *((p, v) for p, v in points if start < p < end)]
            points = [*([(0.0, 0.0)] if start > 0 else []), *inside, *([(end, 0.0)] if end < 1 else [])]
        return _without_repeats(points)


def parse_schedule(text: str) -> Schedule:
    """Read the text form; empty means strength as everywhere, all the time.

    Raises:
        BlockStrengthError: a moment without a position, positions that do not rise or do not begin at 0, steps mixed
            with percents, or block strengths that do not parse.
    """
    found: list[tuple[str, float, list[str]]] = []
    for piece in re.split(r"[;\n]", "\n".join(line.split("#", 1)[0] for line in text.splitlines())):
        match = _MOMENT.match(piece)
        if match is not None:
            unit = STEP if match["step"] is not None else PERCENT
            position = float(match["step"]) if unit == STEP else float(match["percent"]) / 100
            found.append((unit, position, [match["blocks"].strip()]))
        elif piece.strip():
            if not found:
                raise BlockStrengthError(
                    f'schedule: "{piece.strip()[:80]}" has no position before it; expected a percent or a step, '
                    f"{_EXAMPLE}."
                )
            found[-1][2].append(piece.strip())
    if not found:
        return Schedule(PERCENT, (Moment(0.0, ""),))
    _check(found)
    moments = tuple(Moment(position, ",".join(x for x in blocks if x)) for _, position, blocks in found)
    for moment in moments:
        parse_block_strengths(moment.blocks)
    return Schedule(found[0][0], moments)


def _check(found: list[tuple[str, float, list[str]]]) -> None:
    units = {unit for unit, _, _ in found}
    if len(units) > 1:
        raise BlockStrengthError("schedule: percents and steps cannot be mixed; write all positions in one of them.")
    positions = [position for _, position, _ in found]
    if positions[0] != 0:
        first = "step 0" if STEP in units else "0%"
        raise BlockStrengthError(
            f"schedule: the first position must be {first}, so that the beginning is said as well."
        )
    if any(later <= earlier for earlier, later in zip(positions, positions[1:], strict=False)):
        raise BlockStrengthError("schedule: each position must lie behind the one before it.")
    if PERCENT in units and positions[-1] >= 1:
        raise BlockStrengthError(
            "schedule: 100% is the end, where nothing is sampled any more; write a smaller percent."
        )


def check_window(schedule: Schedule, start: float, end: float) -> None:
    """Refuse a window that means nothing.

    Raises:
        BlockStrengthError: it is empty, or the schedule counts steps.
    """
    if not 0 <= start < end <= 1:
        raise BlockStrengthError(
            f"start_percent and end_percent: expected 0 <= start < end <= 1, got {start:g} and {end:g}."
        )
    if schedule.unit == STEP and (start > 0 or end < 1):
        raise BlockStrengthError(
            "start_percent and end_percent count by percent, the schedule by steps; use one of them: set 0 and 1, "
            'and end with a moment like "step 3: all=0".'
        )


def describe_curve(curve: Curve, unit: str) -> str:
    """``0%: 1, 50%: 0``, shortened in the middle where it is long."""
    words = [f"{_position(position, unit)}: {value:g}" for position, value in curve]
    return ", ".join(words if len(words) <= 8 else [*words[:3], f"... {len(words) - 6} more ...", *words[-3:]])


def _position(position: float, unit: str) -> str:
    return f"step {position:g}" if unit == STEP else f"{position * 100:g}%"


def _one_line(text: str) -> str:
    return ",".join(part for line in text.splitlines() if (part := line.split("#", 1)[0].strip().strip(",")))


def _fill(points: list[tuple[float, float]], step: float) -> list[tuple[float, float]]:
    """Points between those of different value, ``step`` apart; the last value holds."""
    filled: list[tuple[float, float]] = []
    for (position, value), (after, next_value) in zip(points, points[1:], strict=False):
        count = max(1, math.ceil((after - position) / step - 1e-9)) if value != next_value else 1
        for index in range(count):
            share = index * step / (after - position)
            filled.append((round(position + index * step, 6), value + (next_value - value) * share))
    return [*filled, points[-1]]


def _without_repeats(points: list[tuple[float, float]]) -> Curve:
    kept: list[tuple[float, float]] = []
    for point in points:
        if not kept or point[1] != kept[-1][1]:
            kept.append(point)
    return tuple(kept)
