"""Norms of a product of low-rank factors from rank x rank matrices.

``|U D|_F^2 = sum(U^T U * D D^T)`` (elementwise product), and the singular values of ``U D`` are the square roots of
the eigenvalues of ``R^T (D D^T) R`` where ``R R^T = U^T U``. Both are exact; the out x in product is never made.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .base import Strength, as_double

if TYPE_CHECKING:
    from torch import Tensor


def gram_norm(up_gram: Tensor, down_gram: Tensor, scale: float) -> float:
    """The Frobenius norm alone of ``scale * U @ D`` from ``U^T U`` and ``D D^T``."""
    return abs(scale) * math.sqrt(max((up_gram * down_gram).sum().item(), 0.0))


def gram_strength(up_gram: Tensor, down_gram: Tensor, scale: float) -> Strength:
    """Norms of ``scale * U @ D`` from ``U^T U`` and ``D D^T``, both [rank, rank] in float64."""
    import torch

    squared = (up_gram * down_gram).sum().item()
    if not math.isfinite(squared):
        return Strength(squared)  # the eigenvalue solver would fail; the caller says what is wrong
    values, vectors = torch.linalg.eigh(up_gram)
    root = vectors * values.clamp_min(0).sqrt()
    top = torch.linalg.eigvalsh(root.T @ down_gram @ root)[-1].item()
    return Strength(abs(scale) * math.sqrt(max(squared, 0.0)), abs(scale) * math.sqrt(max(top, 0.0)))


def column_gram(matrix: Tensor) -> Tensor:
    """``M^T M`` [columns, columns] in float64, for a tall matrix (an up factor)."""
    matrix = as_double(matrix)
    return matrix.T @ matrix


def row_gram(matrix: Tensor) -> Tensor:
    """``M M^T`` [rows, rows] in float64, for a wide matrix (a down factor)."""
    matrix = as_double(matrix)
    return matrix @ matrix.T


def tucker_gram(mid: Tensor, up_gram: Tensor | None, down_gram: Tensor) -> Tensor:
    """Row Gram [m, m] of ``mid`` [m, n, *kernel] times a down factor with row Gram ``down_gram`` [n, n].

    With ``up_gram`` [m, m] the result is already multiplied from the left, so that its trace is the squared norm.
    """
    import torch

    core = as_double(mid).flatten(2)  # [m, n, kernel]
    right = torch.einsum("mnk,np->mpk", core, down_gram)
    gram = torch.einsum("mnk,pnk->mp", right, core)
    return gram if up_gram is None else up_gram @ gram
