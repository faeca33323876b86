"""The factors of all LoRAs beside one layer, as modules, so that ComfyUI moves and counts their parameters.

Strengths are never written into tensors: they are the product's own scalar or, where they differ, one number for each
rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...core.lora.bypass_factors import Dense, Glora, Kronecker, LowRank
from .terms import Beside

_RANK_STEP = 8
"""Ranks are filled up with zeros to a multiple: matrix units want rows of 16 bytes."""


@dataclass(frozen=True)
class Range:
    """Rows or columns ``start`` to ``stop`` of ``size``."""

    start: int
    stop: int
    size: int

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.start == 0 and self.stop == self.size

    @classmethod
    def covering(cls, offsets: Sequence[tuple[int, int, int] | None], dim: int, size: int) -> Range:
        """The smallest range that holds all offsets of one dimension."""
        if any(offset is None or offset[0] != dim for offset in offsets):
            return cls(0, size, size)
        inside = [offset for offset in offsets if offset is not None]
        return cls(min(o[1] for o in inside), max(o[1] + o[2] for o in inside), size)


def frozen(tensor: Tensor) -> torch.nn.Parameter:
    """A parameter that is never trained."""
    return torch.nn.Parameter(tensor.detach(), requires_grad=False)


def fitted(parameter: torch.nn.Parameter, x: Tensor) -> Tensor:
    """``parameter`` where and as ``x`` is. Another dtype is kept for the next call, another device is not."""
    if parameter.dtype != x.dtype:
        parameter.data = parameter.data.to(x.dtype)
    return parameter if parameter.device == x.device else parameter.to(x.device, non_blocking=True)


class FusedLowRank(torch.nn.Module):
    """All low-rank terms beside one layer, their ranks one after the other."""

    def __init__(self, terms: Sequence[Beside], shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        parts = [_low_rank(term) for term in terms]
        offsets = [term.offset for term in terms]
        self.rows = Range.covering(offsets, 0, shape[0])
        self.columns = Range.covering(offsets, 1, shape[1])
        self.ranks = tuple(part.down.shape[0] for part in parts)
        self.scales = tuple(part.scale for part in parts)
        rank = -(-sum(self.ranks) // _RANK_STEP) * _RANK_STEP
        rows, columns = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        if len(parts) == 1 and rank == self.ranks[0]:
            down, up = parts[0].down.to(dtype).contiguous(), parts[0].up.to(dtype).contiguous()
        else:
            down = torch.zeros(rank, columns, *shape[2:], dtype=dtype)
            up = torch.zeros(rows, rank, dtype=dtype)
            start = 0
            for part, offset in zip(parts, offsets, strict=True):
                at = slice(start, start + part.down.shape[0])
                first = offset[1] if offset is not None else 0
                row = first - self.rows.start if offset is not None and offset[0] == 0 else -self.rows.start
                column = first - self.columns.start if offset is not None and offset[0] == 1 else -self.columns.start
                down[at, column : column + part.down.shape[1]] = part.down.to(dtype)
                up[row : row + part.up.shape[0], at] = part.up.to(dtype)
                start = at.stop
        self.down = frozen(down)
        self.up = frozen(up)

    def strengths(self, wanted: Sequence[float]) -> tuple[float, Tensor | None]:
        """The common factor, or 1 and one factor for each rank where the terms differ."""
        factors = [scale * strength for scale, strength in zip(self.scales, wanted, strict=True)]
        if len(set(factors)) == 1:
            return factors[0], None
        each = [factor for factor, rank in zip(factors, self.ranks, strict=True) for _ in range(rank)]
        return 1.0, torch.tensor(each + [0.0] * (self.down.shape[0] - len(each)), dtype=torch.float32)


def _low_rank(term: Beside) -> LowRank:
    part = term.part
    assert isinstance(part, LowRank)
    return part


class KroneckerFactors(torch.nn.Module):
    """The two factors of a LoKr."""

    def __init__(self, term: Beside, dtype: torch.dtype) -> None:
        super().__init__()
        part = term.part
        assert isinstance(part, Kronecker)
        self.first = frozen(part.first.to(dtype).contiguous())
        self.second = frozen(part.second.to(dtype).contiguous())
        self.scale = part.scale
        self.offset = term.offset


class DenseDelta(torch.nn.Module):
    """A whole delta, of a weight or of a bias."""

    def __init__(self, term: Beside, dtype: torch.dtype) -> None:
        super().__init__()
        part = term.part
        assert isinstance(part, Dense)
        self.delta = frozen(part.delta.to(dtype).contiguous())
        self.scale = part.scale
        self.offset = term.offset


class GloraFactors(torch.nn.Module):
    """The two products of a GLoRA: ``before`` changes the layer's input, ``beside`` its output."""

    def __init__(self, term: Beside, dtype: torch.dtype) -> None:
        super().__init__()
        part = term.part
        assert isinstance(part, Glora)
        self.a1, self.a2, self.b1, self.b2 = (frozen(t.to(dtype).contiguous()) for t in vars(part).values() if _is(t))
        self.scale = part.scale


def _is(value: Any) -> bool:
    return isinstance(value, Tensor)


def groups_of(terms: Sequence[Beside]) -> list[tuple[int, ...]]:
    """Low-rank terms together, everything else alone. A GLoRA ends a group: terms before and after it differ."""
    groups: list[tuple[int, ...]] = []
    together: list[int] = []
    for index, term in enumerate(terms):
        if isinstance(term.outline, LowRank):
            together.append(index)
            continue
        if isinstance(term.outline, Glora) and together:
            groups.append(tuple(together))
            together = []
        groups.append((index,))
    return [*groups, tuple(together)] if together else groups


def factors_of(terms: list[Beside], shape: tuple[int, ...], dtype: torch.dtype) -> torch.nn.Module:
    part = terms[0].outline
    if isinstance(part, LowRank):
        return FusedLowRank(terms, shape, dtype)
    if isinstance(part, Kronecker):
        return KroneckerFactors(terms[0], dtype)
    if isinstance(part, Glora):
        return GloraFactors(terms[0], dtype)
    return DenseDelta(terms[0], dtype)


