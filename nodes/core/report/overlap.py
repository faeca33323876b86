"""Where several LoRAs change the same weights of one model, block by block. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from ..model.slices import overlap
from .report import LayerReport, LayerState, Report

MOST_PAIRS = 6
"""Pairs that are told, those with the most weights in common first."""


@dataclass(frozen=True)
class Meeting:
    """Two of several LoRAs that change the same weights."""

    first: int
    second: int
    blocks: dict[str, int]
    """Block to the number of its weights (or of parts of them) that both change, in the order of the layers."""

    @property
    def weights(self) -> int:
        """Number of weights, or of parts of weights, that both change."""
        return sum(self.blocks.values())


def find_meetings(reports: Sequence[Report]) -> tuple[Meeting, ...]:
    """The pairs of ``reports`` that meet, by their index; those with the most weights in common first.

    Two slices of one fused weight meet only where they overlap.
    """
    patched = [_by_key(report) for report in reports]
    found: list[Meeting] = []
    for first, second in combinations(range(len(reports)), 2):
        blocks: dict[str, int] = {}
        for key in patched[first].keys() & patched[second].keys():
            for layer in patched[first][key]:
                if any(_meet(layer, other) for other in patched[second][key]):
                    blocks[layer.block] = blocks.get(layer.block, 0) + 1
        if blocks:
            found.append(Meeting(first, second, dict(sorted(blocks.items(), key=lambda item: _order(item[0])))))
    return tuple(sorted(found, key=lambda meeting: -meeting.weights))


def describe_blocks(blocks: Sequence[str]) -> str:
    """Addresses with rows of numbers as ranges: ``double_blocks.0-1, single_blocks.3``."""
    words: list[str] = []
    runs: dict[str, list[int]] = {}
    for block in blocks:
        kind, _, index = block.rpartition(".")
        if kind and index.isdigit():
            runs.setdefault(kind, []).append(int(index))
        else:
            words.append(block or "?")
    for kind, numbers in runs.items():
        words += [f"{kind}.{_range(run)}" for run in _consecutive(sorted(numbers))]
    return ", ".join(words)


def _by_key(report: Report) -> dict[str, list[LayerReport]]:
    found: dict[str, list[LayerReport]] = {}
    for layer in report.layers:
        if layer.state is LayerState.APPLIED and layer.model_key:
            found.setdefault(layer.model_key, []).append(layer)
    return found


def _meet(one: LayerReport, other: LayerReport) -> bool:
    return one.slice is None or other.slice is None or overlap(one.slice, other.slice) is not None


def _order(block: str) -> tuple[str, int]:
    kind, _, index = block.rpartition(".")
    return (kind, int(index)) if index.isdigit() else (block, -1)


def _consecutive(numbers: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _range(run: list[int]) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"
