"""Norms of products of two factors, for all layers of a file at once: few calls, and the products are never made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

CANCELLED = 1e-4
"""Below this share of ``|up|^2 |down|^2`` the terms of a product cancel each other, and float32 is too coarse.

Unrelated factors have about 1 / rank."""


def product_norms(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
    """``|up @ down|`` (Frobenius) of each pair [out, rank, 1...], [rank, in, *kernel].

    ``|up down|^2 = sum((up^T up) * (down down^T))``: two Gram matrices of rank x rank, float32, summed in float64.
    """
    grams = [(_gram(up, 0), _gram(down, 1)) for up, down in pairs]
    norms = [0.0] * len(pairs)
    for rank in {gram.shape[0] for gram, _ in grams}:
        same = [index for index, (gram, _) in enumerate(grams) if gram.shape[0] == rank]
        ups, downs = (torch.stack([grams[index][side] for index in same]).double() for side in (0, 1))
        squares = (ups * downs).sum((1, 2)).tolist()
        bounds = (ups.diagonal(0, 1, 2).sum(1) * downs.diagonal(0, 1, 2).sum(1)).tolist()
        for index, square, bound in zip(same, squares, bounds, strict=True):
            exact = CANCELLED * bound < square < math.inf or bound == 0
            norms[index] = math.sqrt(square) if exact else _exact_norm(*pairs[index])
    return norms


def _exact_norm(up: Tensor, down: Tensor) -> float:
    """``trace(down^T (up^T up) down)`` in float64, in which nothing has cancelled yet."""
    up, down = (factor.detach().to(device="cpu", dtype=torch.float64).flatten(1) for factor in (up, down))
    return math.sqrt(max(float(((up.t() @ up @ down) * down).sum()), 0.0))


def _gram(factor: Tensor, side: int) -> Tensor:
    """``F^T F`` (side 0) or ``F F^T`` (side 1) as a matrix of rank x rank."""
    matrix = factor.to(device="cpu", dtype=torch.float32)
    if matrix.dim() > 2:
        matrix = matrix.flatten(1)
    return torch.mm(matrix.t(), matrix) if side == 0 else torch.mm(matrix, matrix.t())
