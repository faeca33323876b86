"""The arithmetic beside one layer: factors of all LoRAs on it in one place, one product into the layer's output.

Parameters live in modules, so that ComfyUI moves and counts them; the calls hold the same parameters and look nothing
up while a model runs. Strengths are never written into tensors: they are the product's own scalar or, where they
differ, one number for each rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.lora.bypass_factors import Dense, Glora, Kronecker, LowRank
from .terms import Beside, LayerKind

_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
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


def _fit(parameter: torch.nn.Parameter, x: Tensor) -> Tensor:
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
    assert isinstance(term.part, LowRank)
    return term.part


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
            down, up = _fit(down, x), _fit(up, x)
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
        down, up = _fit(self.down, x), _fit(self.up, x)
        convolve = _CONVOLUTIONS[x.dim()]
        inner = convolve(x, down, **self.options)
        ones = (1,) * (x.dim() - 2)
        if self.each is not None:
            inner.mul_(self.each.to(x.device).view(1, -1, *ones))
        out.narrow(1, self.rows.start, self.rows.stop - self.rows.start).add_(
            convolve(inner, up.view(*up.shape, *ones)), alpha=self.alpha
        )


class KroneckerFactors(torch.nn.Module):
    """The two factors of a LoKr."""

    def __init__(self, term: Beside, dtype: torch.dtype) -> None:
        super().__init__()
        assert isinstance(term.part, Kronecker)
        self.first = frozen(term.part.first.to(dtype).contiguous())
        self.second = frozen(term.part.second.to(dtype).contiguous())
        self.scale = term.part.scale
        self.offset = term.offset


class KroneckerCall:
    """``out += alpha * kron(first, second) x``, the product with ``second`` straight into the output."""

    def __init__(self, factors: KroneckerFactors, strength: float) -> None:
        self.factors, self.alpha = factors, factors.scale * strength

    def __call__(self, x: Tensor, out: Tensor) -> None:
        first, second = _fit(self.factors.first, x), _fit(self.factors.second, x)
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


class DenseDelta(torch.nn.Module):
    """A whole delta, of a weight or of a bias."""

    def __init__(self, term: Beside, dtype: torch.dtype) -> None:
        super().__init__()
        assert isinstance(term.part, Dense)
        self.delta = frozen(term.part.delta.to(dtype).contiguous())
        self.scale = term.part.scale
        self.offset = term.offset


class DenseCall:
    """``out += alpha * delta(x)``: as much arithmetic as the layer itself."""

    def __init__(self, whole: DenseDelta, strength: float, layer: LayerKind) -> None:
        self.whole, self.alpha, self.layer = whole, whole.scale * strength, layer

    def __call__(self, x: Tensor, out: Tensor) -> None:
        delta, offset = _fit(self.whole.delta, x), self.whole.offset
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


class GloraFactors(torch.nn.Module):
    """The two products of a GLoRA: ``before`` changes the layer's input, ``beside`` its output."""

    def __init__(self, term: Beside, dtype: torch.dtype) -> None:
        super().__init__()
        part = term.part
        assert isinstance(part, Glora)
        self.a1, self.a2, self.b1, self.b2 = (frozen(t.to(dtype).contiguous()) for t in vars(part).values() if _is(t))
        self.scale = part.scale
        self.offset = term.offset


def _is(value: Any) -> bool:
    return isinstance(value, Tensor)


class GloraCall:
    """GLoRA: ``W (x + alpha a1 a2 x) + alpha b1 b2 x``. What stands before it in the chain sees the changed input."""

    def __init__(self, factors: GloraFactors, strength: float) -> None:
        self.factors, self.alpha = factors, factors.scale * strength

    def change_input(self, x: Tensor) -> Tensor:
        """The input of everything that comes before this term."""
        inner = F.linear(x, _fit(self.factors.a2, x))
        return x + self.alpha * F.linear(inner, _fit(self.factors.a1, x))

    def __call__(self, x: Tensor, out: Tensor) -> None:
        inner = F.linear(x, _fit(self.factors.b2, x))
        out.add_(F.linear(inner, _fit(self.factors.b1, x)), alpha=self.alpha)


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
        for group in _groups(terms):
            members = [terms[index] for index in group]
            self.groups.append(group)
            self.factors.append(_factors(members, shape, dtype))

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


def _groups(terms: Sequence[Beside]) -> list[tuple[int, ...]]:
    """Low-rank terms together, everything else alone. A GLoRA ends a group: terms before and after it differ."""
    groups: list[tuple[int, ...]] = []
    together: list[int] = []
    for index, term in enumerate(terms):
        if isinstance(term.part, LowRank):
            together.append(index)
            continue
        if isinstance(term.part, Glora) and together:
            groups.append(tuple(together))
            together = []
        groups.append((index,))
    return [*groups, tuple(together)] if together else groups


def _factors(terms: list[Beside], shape: tuple[int, ...], dtype: torch.dtype) -> torch.nn.Module:
    part = terms[0].part
    if isinstance(part, LowRank):
        return FusedLowRank(terms, shape, dtype)
    if isinstance(part, Kronecker):
        return KroneckerFactors(terms[0], dtype)
    if isinstance(part, Glora):
        return GloraFactors(terms[0], dtype)
    return DenseDelta(terms[0], dtype)


class LayerHook:
    """A forward hook that adds the calls to a layer's output."""

    __slots__ = ("calls", "reached")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = tuple(calls)
        self.reached = False
        """Whether the layer was ever called; one whose weight is used in another way never is."""

    def __call__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Tensor:
        self.reached = True
        x, out = _prepare(args[0] if args else kwargs["input"], out)
        for call in self.calls:
            call(x, out)
        return out

    def register(self, module: torch.nn.Module) -> list[Any]:
        """Hook it into ``module``; the handles take it out again."""
        return [module.register_forward_hook(self, with_kwargs=True)]


class InsideHook(LayerHook):
    """The same for a plain linear layer, whose product the low-rank term is part of where the layer lets it.

    The layer gets its input as a :class:`LinearInput`, which sees the layer's product. A layer that computes in another
    way (quantised, replaced by another pack) leaves the term to be added afterwards.
    """

    __slots__ = ("call", "others")

    def __init__(self, calls: Sequence[Call]) -> None:
        super().__init__(calls)
        self.call = next(call for call in calls if isinstance(call, LinearCall) and call.rows is None)
        self.others = tuple(call for call in calls if call is not self.call)

    def before(self, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Let the layer's input carry the term, unless something else computes in the layer's place."""
        if not INSIDE or len(args) != 1 or type(args[0]) is not Tensor or torch.compiler.is_compiling():
            return None
        x = args[0]
        forward = vars(module).get("forward")  # of another pack, or the layer's own, put back
        if (
            (forward is not None and getattr(forward, "__self__", None) is not module)
            or x.requires_grad
            or not x.is_contiguous()
            or x.dtype not in _PRODUCTS
        ):
            return None
        carrier = x.as_subclass(LinearInput)
        carrier.call, carrier.done = self.call, False
        carrier.shape_of_weight = (module.out_features, module.in_features)
        return (carrier,)

    def __call__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Tensor:
        x = args[0] if args else None
        if type(x) is not LinearInput:
            return super().__call__(module, args, kwargs, out)
        done, plain = x.done, x.as_subclass(Tensor)
        if not done:
            return super().__call__(module, (plain,), kwargs, out)
        self.reached = True
        if self.others:
            plain, out = _prepare(plain, out)
            for call in self.others:
                call(plain, out)
        return out

    def register(self, module: torch.nn.Module) -> list[Any]:
        """Hook it into ``module``; the handles take it out again."""
        return [module.register_forward_pre_hook(self.before), *super().register(module)]


INSIDE = True
"""Whether low-rank terms go into the layer's own product; otherwise they are added afterwards."""

_PRODUCTS = (torch.bfloat16, torch.float16, torch.float32)


class LinearInput(Tensor):
    """A layer's input that takes ``call`` into the first product with a weight of the layer's shape.

    Everything else that is done with it gives plain tensors.
    """

    call: LinearCall
    shape_of_weight: tuple[int, int]
    done: bool

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """The layer's product with the term in it, or what ``func`` does with a plain tensor."""
        with torch._C.DisableTorchFunctionSubclass():
            if func is F.linear and not kwargs and type(args[0]) is cls:
                result = args[0].into_product(*args[1:])
                if result is not None:
                    return result
            return func(*args, **(kwargs or {}))

    def into_product(self, weight: Any, bias: Any = None) -> Tensor | None:
        fits = type(weight) in _WEIGHTS and (bias is None or (type(bias) in _WEIGHTS and bias.dtype == self.dtype))
        if self.done or not fits or tuple(weight.shape) != self.shape_of_weight:
            return None
        if weight.dtype != self.dtype or weight.device != self.device:
            return None
        if weight.requires_grad and torch.is_grad_enabled():
            return None
        self.done = True
        return self.call.product(self.as_subclass(Tensor), weight, bias)


_WEIGHTS = (Tensor, torch.nn.Parameter)


class GloraHook:
    """The same for a layer with a GLoRA, whose input changes on the way."""

    __slots__ = ("calls", "inputs", "reached")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = tuple(calls)
        self.inputs: list[Tensor] = []
        self.reached = False

    def before(self, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Find the input of every call, the last first, and hand the layer its own."""
        x, self.inputs = _plain(args[0]), []
        for call in reversed(self.calls):
            self.inputs.append(x)
            if isinstance(call, GloraCall):
                x = call.change_input(x)
        return (x, *args[1:])

    def after(self, module: Any, args: tuple[Any, ...], out: Any) -> Tensor:
        """Add the calls to the output."""
        self.reached = True
        inputs, self.inputs = self.inputs, []
        for call in self.calls:
            x, out = _prepare(inputs.pop(), out)
            call(x, out)
        return out

    def register(self, module: torch.nn.Module) -> list[Any]:
        """Hook it into ``module``; the handles take it out again."""
        return [module.register_forward_pre_hook(self.before), module.register_forward_hook(self.after)]


def make_hook(calls: Sequence[Call], module: Any = None) -> LayerHook | GloraHook:
    """The hook for the calls of one layer, ``module``."""
    if any(isinstance(call, GloraCall) for call in calls):
        return GloraHook(calls)
    whole = any(isinstance(call, LinearCall) and call.rows is None for call in calls)
    return InsideHook(calls) if whole and isinstance(module, torch.nn.Linear) else LayerHook(calls)


def _plain(x: Any) -> Tensor:
    """A quantised activation as numbers."""
    if type(x) is Tensor:
        return x
    return x.as_subclass(Tensor) if isinstance(x, torch.nn.Parameter) else x.dequantize()


def _prepare(x: Any, out: Any) -> tuple[Tensor, Tensor]:
    """Input and output as plain tensors of one dtype, the output free to be written to."""
    if type(x) is not Tensor:
        x = _plain(x)
    if type(out) is not Tensor:
        out = _plain(out)
    if x.dtype != out.dtype:
        x = x.to(out.dtype)
    if out.requires_grad or not out.is_contiguous():
        out = out.clone(memory_format=torch.contiguous_format)
    return x, out
