"""Parts of a report that compare: LoRAs looked for in a model, two files, the ranks that a file needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockStrength:
    """One block of a model, and one LoRA that was looked for in it."""

    block: str
    strength: float | None
    """Of the weights of the block together; ``None`` where the LoRA does not change it."""
    rest: float | None
    """Norm of what none of the LoRAs explains over that of the difference from the base; ``None`` without one."""


@dataclass(frozen=True)
class FoundLora:
    """One LoRA that was looked for in a model."""

    name: str
    verdict: str
    """``verified``, ``partly``, ``not`` or ``cannot tell``."""
    reason: str
    strength: float | None
    error: float | None
    """Standard error of the strength."""
    layers: int
    """Weights that were compared and that it changes."""
    exact: int
    """Of these, those whose bytes come out the same when the LoRAs are merged again."""
    blocks: tuple[BlockStrength, ...] = ()


@dataclass(frozen=True)
class ComparedBlock:
    """One block of two LoRA files."""

    block: str
    cosine: float | None
    """``None`` where one of them does not change it."""
    share_a: float
    """Of the first file's squared norm."""
    share_b: float


@dataclass(frozen=True)
class ComparedFile:
    """A second LoRA file beside the one that the report is about."""

    name: str
    same: bool
    """Whether it is the first one times a factor."""
    factor: float | None
    """The factor with which the first comes nearest to the second; ``None`` where one of them changes nothing."""
    residual: float | None
    """What that leaves, as a share of the second's norm."""
    cosine: float | None
    blocks: tuple[ComparedBlock, ...] = ()
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    not_compared: str = ""
    """Why there is no figure at all."""


@dataclass(frozen=True)
class RankCurve:
    """What cutting every layer of a block, or of a file, to one rank keeps."""

    block: str
    """Empty for the whole file."""
    ranks: tuple[int, ...]
    kept: tuple[float, ...]
    """Share of the squared norm that is left at these ranks."""
    needed: tuple[int, ...]
    """Smallest ranks that keep 95, 98 and 99 %."""
    stored: int
    """Largest rank of its layers; 0 where all are whole differences."""
    above_noise: int
    """Most singular values of a layer above what rounding to bfloat16 leaves."""
    dead: int = 0
    over_ranked: int = 0
    layers: int = 0
