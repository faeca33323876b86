"""Benches with known answers: pictures that are sums of what each unit adds, with or without interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

SIZE = 128


def made_bench(
    pack: Any,
    sizes: list[float],
    pairs: Mapping[tuple[int, int], float] | None = None,
    seed: int = 0,
    scenes: int = 2,
    either: Mapping[tuple[int, int], float] | None = None,
) -> Any:
    """A bench of units whose random changes have these sizes.

    Args:
        pairs: Changes that are there only while both units are.
        either: Changes that are there while one of two units is: each alone can be left out.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(sizes)
    changes = torch.randn(scenes, count, SIZE, generator=generator) * torch.tensor(sizes)[None, :, None]
    plain = torch.randn(scenes, SIZE, generator=generator)
    both = {pair: torch.randn(scenes, SIZE, generator=generator) * size for pair, size in (pairs or {}).items()}
    one = {pair: torch.randn(scenes, SIZE, generator=generator) * size for pair, size in (either or {}).items()}

    def run(dropped: frozenset[int]) -> tuple[torch.Tensor, ...]:
        kept = [unit for unit in range(count) if unit not in dropped]
        pictures = plain + changes[:, kept].sum(dim=1)
        for pair, added in both.items():
            if set(pair) <= set(kept):
                pictures = pictures + added
        for pair, added in one.items():
            if set(pair) & set(kept):
                pictures = pictures + added
        return tuple(picture[None, None] for picture in pictures)

    return pack.nodes.core.sweep.bench.Bench(count, run)
