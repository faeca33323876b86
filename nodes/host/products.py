"""Norms of products of two factors, for all layers of a file at once: few calls, and the products are never made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def product_norms(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
    """``|up @ down|`` (Frobenius) of each pair [out, rank, 1...], [rank, in, *kernel].

    ``|up down|^2 = sum((up^T up) * (down down^T))``: two Gram matrices of rank x rank, float32, summed in float64.
    """
    grams = [(_gram(up, 0), _gram(down, 1)) for up, down in pairs]
    norms = [0.0] * len(pairs)
    for rank in {gram.shape[0] for gram, _ in grams}:
        same = [index for index, (gram, _) in enumerate(grams) if gram.shape[0] == rank]
        ups = torch.stack([grams[index][0] for index in same]).double()
        squares = (ups * torch.stack([grams[index][1] for index in same]).double()).sum((1, 2))
        for index, norm in zip(same, squares.clamp(min=0).sqrt().tolist(), strict=True):
            norms[index] = norm
    return norms


def _gram(factor: Tensor, side: int) -> Tensor:
    """``F^T F`` (side 0) or ``F F^T`` (side 1) as a matrix of rank x rank."""
    matrix = factor.to(device="cpu", dtype=torch.float32)
    if matrix.dim() > 2:
        matrix = matrix.flatten(1)
    return torch.mm(matrix.t(), matrix) if side == 0 else torch.mm(matrix, matrix.t())
