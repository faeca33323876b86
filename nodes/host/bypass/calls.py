"""The arithmetic beside one layer: one product into the layer's output for all low-rank terms.

The calls hold the parameters of :mod:`.factors` and look nothing up while a model runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .factors import (
    DenseDelta,
    FusedLowRank,
    GloraFactors,
    KroneckerFactors,
    factors_of,
    fitted,
    groups_of,
)
from .terms import Beside, LayerKind

_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}


class LinearCall:
    """``out += alpha * (x down^T * each) up^T``, in place and in one product."""

    __slots__ = ("alpha", "columns", "down", "each", "rows", "up")

    def __init__(self, fused: FusedLowRank, strengths: Sequence[float]) -> None:
        self.down, self.up = fused.down, fused.up
        self.alpha, self.each = fused.strengths(strengths)
        self.rows = None if fused.rows.whole else fused.rows
        self.columns = None if fused.columns.whole else fused.columns

    def __call__(self, x: Tensor, out: Tensor) -> None:
        """Add to ``out``, contiguous [..., rows], what ``x`` [..., columns] gives."""
        inner, up = self._inner(x)
        out = out.view(-1, out.shape[-1])
        if self.rows is not None:
            out = out[:, self.rows.start : self.rows.stop]
        out.addmm_(inner, up.t(), alpha=self.alpha)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """``x weight^T + bias`` and this term together, ``x`` [..., columns] contiguous; :attr:`rows` must be ``None``.

        The small product is written first and the layer's own product is added to it as it leaves the matrix units.
        Afterwards it would have to be read from memory and written once more, which takes longer than its arithmetic.
        """
        inner, up = self._inner(x)
        if bias is None:
            out = x.new_empty(inner.shape[0], weight.shape[0]).addmm_(inner, up.t(), beta=0, alpha=self.alpha)
        else:
            out = torch.addmm(bias, inner, up.t(), alpha=self.alpha)
        return out.addmm_(x.view(-1, x.shape[-1]), weight.t()).view(*x.shape[:-1], weight.shape[0])

    def _inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` times ``down`` [tokens, rank], and ``up`` where and as ``x`` is."""
        down, up = self.down, self.up
        if down.device != x.device or down.dtype != x.dtype or up.device != x.device or up.dtype != x.dtype:
            down, up = fitted(down, x), fitted(up, x)
        if self.columns is not None:
            x = x[..., self.columns.start : self.columns.stop]
        inner = F.linear(x, down)
        if self.each is not None:
            if self.each.device != x.device:
                self.each = self.each.to(x.device)
            inner.mul_(self.each)
        return inner.view(-1, inner.shape[-1]), up


class ConvCall:
    """The same beside a convolution: ``down`` has the kernel, ``up`` is 1 x 1."""

    def __init__(self, fused: FusedLowRank, strengths: Sequence[float], layer: LayerKind) -> None:
        self.down, self.up = fused.down, fused.up
        self.alpha, self.each = fused.strengths(strengths)
        self.rows = fused.rows
        self.options = layer.options

    def __call__(self, x: Tensor, out: Tensor) -> None:
        down, up = fitted(self.down, x), fitted(self.up, x)
        convolve = _CONVOLUTIONS[x.dim()]
        inner = convolve(x, down, **self.options)
        ones = (1,) * (x.dim() - 2)
        if self.each is not None:
            inner.mul_(self.each.to(x.device).view(1, -1, *ones))
        out.narrow(1, self.rows.start, self.rows.stop - self.rows.start).add_(
            convolve(inner, up.view(*up.shape, *ones)), alpha=self.alpha
        )


class KroneckerCall:
    """``out += alpha * kron(first, second) x``, the product with ``second`` straight into the output."""

    def __init__(self, factors: KroneckerFactors, strength: float) -> None:
        self.factors, self.alpha = factors, factors.scale * strength

    def __call__(self, x: Tensor, out: Tensor) -> None:
        first, second = fitted(self.factors.first, x), fitted(self.factors.second, x)
        offset = self.factors.offset
        if offset is not None and offset[0] == 1:
            x = x.narrow(-1, offset[1], offset[2])
        inner = torch.matmul(first, x.reshape(-1, first.shape[1], second.shape[1]))
        inner = inner.reshape(-1, second.shape[1])
        if offset is None or offset[0] == 1:
            out.view(-1, second.shape[0]).addmm_(inner, second.t(), alpha=self.alpha)
            return
        change = F.linear(inner, second).view(*out.shape[:-1], -1)
        out.narrow(-1, offset[1], offset[2]).add_(change, alpha=self.alpha)


class DenseCall:
    """``out += alpha * delta(x)``: as much arithmetic as the layer itself."""

    def __init__(self, whole: DenseDelta, strength: float, layer: LayerKind) -> None:
        self.whole, self.alpha, self.layer = whole, whole.scale * strength, layer

    def __call__(self, x: Tensor, out: Tensor) -> None:
        delta, offset = fitted(self.whole.delta, x), self.whole.offset
        channel = -1 if self.layer.kind == "linear" else 1
        if offset is not None:
            x = x.narrow(channel, offset[1], offset[2]) if offset[0] == 1 else x
            out = out.narrow(channel, offset[1], offset[2]) if offset[0] == 0 else out
        if delta.dim() == 1:
            ones = () if channel == -1 else (1,) * (out.dim() - 2)
            out.add_(delta.view(-1, *ones), alpha=self.alpha)
        elif self.layer.kind == "linear" and out.is_contiguous():
            out.view(-1, out.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]), delta.t(), alpha=self.alpha)
        elif self.layer.kind == "linear":
            out.add_(F.linear(x, delta), alpha=self.alpha)
        else:
            out.add_(_CONVOLUTIONS[x.dim()](x, delta, **self.layer.options), alpha=self.alpha)


class GloraCall:
    """GLoRA: ``W (x + alpha a1 a2 x) + alpha b1 b2 x``. What stands before it in the chain sees the changed input."""

    def __init__(self, factors: GloraFactors, strength: float) -> None:
        self.factors, self.alpha = factors, factors.scale * strength

    def change_input(self, x: Tensor) -> Tensor:
        """The input of everything that comes before this term."""
        inner = F.linear(x, fitted(self.factors.a2, x))
        return x + self.alpha * F.linear(inner, fitted(self.factors.a1, x))

    def __call__(self, x: Tensor, out: Tensor) -> None:
        inner = F.linear(x, fitted(self.factors.b2, x))
        out.add_(F.linear(inner, fitted(self.factors.b1, x)), alpha=self.alpha)


Call = LinearCall | ConvCall | KroneckerCall | DenseCall | GloraCall


class LayerFactors(torch.nn.Module):
    """Everything that runs beside one layer, in the order of the nodes."""

    def __init__(self, terms: Sequence[Beside], layer: LayerKind, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """
        Args:
            shape: Shape of the whole weight.
            dtype: What the layer computes in.
        """
        super().__init__()
        self.layer = layer
        self.groups: list[tuple[int, ...]] = []
        self.factors = torch.nn.ModuleList()
        for group in groups_of(terms):
            members = [terms[index] for index in group]
            self.groups.append(group)
            self.factors.append(factors_of(members, shape, dtype))

    def calls(self, strengths: Sequence[float]) -> list[Call]:
        """The calls for these strengths, one for each term."""
        result: list[Call] = []
        for group, factors in zip(self.groups, self.factors, strict=True):
            result.append(self._call(factors, [strengths[index] for index in group]))
        return result

    def _call(self, factors: torch.nn.Module, strengths: list[float]) -> Call:
        if isinstance(factors, FusedLowRank):
            is_conv = self.layer.kind == "conv"
            return ConvCall(factors, strengths, self.layer) if is_conv else LinearCall(factors, strengths)
        if isinstance(factors, KroneckerFactors):
            return KroneckerCall(factors, strengths[0])
        if isinstance(factors, GloraFactors):
            return GloraCall(factors, strengths[0])
        assert isinstance(factors, DenseDelta)
        return DenseCall(factors, strengths[0], self.layer)
