"""Forward hooks that put the calls of one layer into its output, where the layer lets them into its own product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .calls import Call, GloraCall, LinearCall


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
    """The same for a layer with a GLoRA, whose input changes on the way.

    Between the two hooks it holds the inputs of all calls; after an error in between, ``after`` is called as well.
    """

    __slots__ = ("calls", "inputs", "reached")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = tuple(calls)
        self.inputs: list[Tensor] = []
        self.reached = False

    def before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Find the input of every call, the last first, and hand the layer its own."""
        x, self.inputs = _plain(args[0] if args else kwargs["input"]), []
        for call in reversed(self.calls):
            self.inputs.append(x)
            if isinstance(call, GloraCall):
                x = call.change_input(x)
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "input": x})

    def after(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Tensor | None:
        """Add the calls to the output; there is none where the layer ended with an error."""
        inputs, self.inputs = self.inputs, []
        if out is None:
            return None
        self.reached = True
        for call in self.calls:
            x, out = _prepare(inputs.pop(), out)
            call(x, out)
        return out

    def register(self, module: torch.nn.Module) -> list[Any]:
        """Hook it into ``module``; the handles take it out again."""
        return [
            module.register_forward_pre_hook(self.before, with_kwargs=True),
            module.register_forward_hook(self.after, with_kwargs=True, always_call=True),
        ]


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
