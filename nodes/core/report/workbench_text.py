"""The comparing parts of a report as text."""

from __future__ import annotations

from collections.abc import Sequence

from .workbench import ComparedFile, FoundLora, RankCurve


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


def compared_rows(compared: ComparedFile | None) -> list[tuple[str, ...]]:
    """A table: cosine and shares of two files by block."""
    if compared is None or not compared.blocks:
        return []
    rows: list[tuple[str, ...]] = [("block", "cosine", "share of this file", f"share of {compared.name}")]
    for block in compared.blocks:
        cosine = "-" if block.cosine is None else f"{block.cosine:.4f}"
        rows.append((block.block or "no place", cosine, f"{block.share_a:.1%}", f"{block.share_b:.1%}"))
    return rows


def compared_lines(compared: ComparedFile | None) -> list[str]:
    """What one of two files changes alone."""
    if compared is None:
        return []
    sides = (("this file", compared.only_first), (compared.name, compared.only_second))
    return [f"Only {side} changes: {', '.join(names)}" for side, names in sides if names]


def rank_rows(ranks: Sequence[RankCurve]) -> list[tuple[str, ...]]:
    """A table: stored and needed ranks by block."""
    if not ranks:
        return []
    rows: list[tuple[str, ...]] = [
        ("block", "layers", "rank", "95 %", "98 %", "99 %", "above noise", "dead", "over-ranked")
    ]
    for curve in ranks:
        needed = map(str, curve.needed)
        rows.append((curve.block or "all", str(curve.layers), str(curve.stored or "-"), *needed,
                     str(curve.above_noise), str(curve.dead), str(curve.over_ranked)))  # fmt: skip
    return rows


def _strength(value: float | None) -> str:
    """With four decimals at most, so that what is none reads 0."""
    return "-" if value is None else f"{round(value, 4) + 0.0:g}"
