"""The comparing parts of a report as text."""

from __future__ import annotations

from collections.abc import Sequence

from .workbench import FoundLora


def found_rows(found: Sequence[FoundLora]) -> list[tuple[str, ...]]:
    """A table: each LoRA that was looked for, its verdict and strength."""
    if not found:
        return []
    rows: list[tuple[str, ...]] = [("LoRA", "verdict", "strength", "+-", "weights", "byte for byte")]
    for lora in found:
        strength = ("-", "-") if lora.strength is None else (_strength(lora.strength), f"{lora.error or 0:.1g}")
        rows.append((lora.name, lora.verdict, *strength, str(lora.layers), str(lora.exact)))
    return rows


def found_block_rows(found: Sequence[FoundLora]) -> list[tuple[str, ...]]:
    """A table: the strength of each LoRA in each block, and what no LoRA explains there."""
    if not found:
        return []
    rows = [("block", *(lora.name for lora in found), "not explained")]
    for at, block in enumerate(found[0].blocks):
        strengths = [lora.blocks[at].strength for lora in found]
        rest = "-" if block.rest is None else f"{block.rest:.2%}"
        rows.append((block.block, *map(_strength, strengths), rest))
    return rows


def _strength(value: float | None) -> str:
    """With four decimals at most, so that what is none reads 0."""
    return "-" if value is None else f"{round(value, 4) + 0.0:g}"
