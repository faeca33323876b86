"""What an additive adapter does beside its weight in the forward pass, with as little arithmetic as its format allows.

A delta that is added to a weight can be left out of it and applied to the input instead: ``(W + s D) x = W x + s D x``.
``D x`` is cheap for a product of small factors. Nothing here knows ComfyUI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import AdapterFormatError

if TYPE_CHECKING:
    from torch import Tensor

Roles = Mapping[str, "Tensor"]
"""The tensors of one layer by role (``up``, ``down``, ``hada_w1_a``, ...)."""


@dataclass(frozen=True, eq=False)
class LowRank:
    """``D = scale * up @ down``."""

    down: Tensor
    """[rank, in, *kernel]"""
    up: Tensor
    """[out, rank]"""
    scale: float


@dataclass(frozen=True, eq=False)
class Kronecker:
    """``D = scale * kron(first, second)`` for a linear layer."""

    first: Tensor
    """[a, b]"""
    second: Tensor
    """[c, d]; the weight is [a c, b d]."""
    scale: float


@dataclass(frozen=True, eq=False)
class Glora:
    """``D = scale * (W @ a1 @ a2 + b1 @ b2)`` for a linear layer: the first term changes the input of the layer."""

    a1: Tensor
    """[in, rank]"""
    a2: Tensor
    """[rank, in]"""
    b1: Tensor
    """[out, rank]"""
    b2: Tensor
    """[rank, in]"""
    scale: float


@dataclass(frozen=True, eq=False)
class Dense:
    """``D`` as it is, where it has no small factors: as large as the weight."""

    delta: Tensor
    """[out, in, *kernel], or [out] for a bias."""
    scale: float = 1.0


Part = LowRank | Kronecker | Glora | Dense


def small_factors(kind: str, roles: Roles, scale: float, shape: tuple[int, ...]) -> Part | None:
    """The cheap form of a format, or ``None`` where the whole delta is cheaper or the only way.

    Args:
        kind: Name of the format, as in :mod:`adapters`: ``lora``, ``loha``, ``lokr`` or ``glora``.
        scale: What the product of the factors is multiplied with (alpha / rank).
        shape: Shape of the weight, or of the slice that the adapter is for.

    Raises:
        AdapterFormatError: the tensors contradict each other.
    """
    if kind == "lora":
        return _lora(roles, scale, shape)
    if kind == "loha":
        return _loha(roles, scale, shape)
    if kind == "lokr":
        return _lokr(roles, scale, shape)
    if kind == "glora":
        return _glora(roles, scale, shape)
    return None


def _lora(roles: Roles, scale: float, shape: tuple[int, ...]) -> LowRank:
    import torch

    up, down, mid = roles["up"], roles["down"], roles.get("mid")
    up = up.flatten(1)
    if mid is not None:  # Tucker: the kernel sits in the core, which is folded into down
        down = torch.einsum("mn...,ni->mi...", mid.float(), down.flatten(1).float())
    return LowRank(down.reshape(down.shape[0], *shape[1:]), up, scale)


def _loha(roles: Roles, scale: float, shape: tuple[int, ...]) -> LowRank | None:
    import torch

    if "hada_t1" in roles or len(shape) != 2:
        return None
    a1, b1, a2, b2 = (roles[f"hada_{name}"].float() for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    rank = b1.shape[0] * b2.shape[0]
    if 2 * rank * (shape[0] + shape[1]) > shape[0] * shape[1]:
        return None
    # (a1 b1) * (a2 b2) elementwise: row o of up is the outer product of the rows o of a1 and a2.
    up = torch.einsum("or,os->ors", a1, a2).flatten(1)
    down = torch.einsum("ri,si->rsi", b1, b2).flatten(0, 1)
    return LowRank(down, up, scale)


def _lokr(roles: Roles, scale: float, shape: tuple[int, ...]) -> Kronecker | None:
    if len(shape) != 2 or "lokr_t2" in roles:
        return None
    first, second = (_lokr_factor(roles, number) for number in (1, 2))
    if first.dim() != 2 or second.dim() != 2:
        return None
    return Kronecker(first, second, scale)


def _lokr_factor(roles: Roles, number: int) -> Tensor:
    whole = roles.get(f"lokr_w{number}")
    if whole is not None:
        return whole
    return roles[f"lokr_w{number}_a"].float() @ roles[f"lokr_w{number}_b"].float()


def _glora(roles: Roles, scale: float, shape: tuple[int, ...]) -> Glora | None:
    if len(shape) != 2:
        return None
    a1, a2, b1, b2 = (roles[name].flatten(1) for name in ("a1", "a2", "b1", "b2"))
    if not b2.shape[0] == b1.shape[1] == a1.shape[1] == a2.shape[0] <= a2.shape[1]:  # as early LyCORIS wrote them
        a1, a2, b1, b2 = a2, a1, b2, b1
    if (b1.shape[0], b2.shape[1]) != shape or a1.shape[0] != shape[1] or a2.shape[1] != shape[1]:
        raise AdapterFormatError(f"glora: the tensors change a weight of {b1.shape[0]} x {b2.shape[1]}, not {shape}")
    return Glora(a1, a2, b1, b2, scale)
