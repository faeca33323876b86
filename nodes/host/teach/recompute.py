"""Makes ComfyUI's blocks differentiable: what they overwrite is kept, and large models compute their blocks twice.

ComfyUI's blocks add to their inputs in place, which autograd refuses, since what a layer saved for its gradient is
overwritten by the next. Two things put that right on a copy of the model that nobody else has:

* :func:`keeping_values`: every tensor that is saved is saved as a copy. Weights are not copied.
* :func:`recompute_blocks`: a block runs without saving anything and again when its gradient is needed, each time on
  copies of its inputs. PyTorch's own checkpointing finds gradients of such blocks that are silently wrong, since it
  does not see that the tensors that it packed were overwritten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@dataclasses.dataclass
class Kept:
    """Bytes that gradients keep."""

    bytes: int = 0
    """All that was saved since this was made."""
    block: int = 0
    """The most that one block saved that was computed twice."""

    @property
    def peak(self) -> int:
        """The most at once."""
        return self.bytes + self.block


@contextmanager
def keeping_values(weights: frozenset[int], kept: Kept | None = None) -> Iterator[None]:
    """Saves a copy of every tensor that autograd saves, but of those at these addresses (``data_ptr``), and counts."""

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() in weights:
            return tensor
        if kept is not None:
            kept.bytes += tensor.numel() * tensor.element_size()
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield


def addresses(model: torch.nn.Module) -> frozenset[int]:
    """The addresses of a model's own numbers, which nothing overwrites."""
    found = (*model.parameters(), *model.buffers())
    return frozenset(tensor.data_ptr() for tensor in found if type(tensor.data) is Tensor)


@contextmanager
def recompute_blocks(
    blocks: Iterable[torch.nn.Module], weights: frozenset[int], kept: Kept | None = None
) -> Iterator[None]:
    """While it is entered, these blocks run again for their gradients instead of keeping what they computed.

    Only for modules of a copy of the model: their ``forward`` is replaced, and put back at the end.
    """
    changed = []
    try:
        for block in blocks:
            inner = block.forward
            block.forward = _recomputing(inner, weights, kept)
            changed.append(block)
        yield
    finally:
        for block in changed:
            vars(block).pop("forward", None)


def _recomputing(inner: Callable[..., Any], weights: frozenset[int], kept: Kept | None) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return inner(*args, **kwargs)
        tensors: list[Tensor] = []
        outline = _take_apart((args, tuple(kwargs.items())), tensors)
        shape: list[Any] = []

        def run(given: tuple[Tensor, ...]) -> list[Tensor]:
            positional, named = _put_together(outline, iter([tensor.clone() for tensor in given]))
            found: list[Tensor] = []
            shape[:] = [_take_apart(inner(*positional, **dict(named)), found)]
            return found

        # Factors inside the block need gradients also where none of its inputs does.
        anchor = torch.zeros((), requires_grad=True)
        found = _Recomputed.apply(run, weights, kept, anchor, *tensors)
        return _put_together(shape[0], iter(found))

    return forward


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, run: Any, weights: frozenset[int], kept: Kept | None, anchor: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.run, ctx.weights, ctx.kept = run, weights, kept
        ctx.save_for_backward(*tensors)
        with torch.no_grad():
            return tuple(run(tensors))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        wanted, own = ctx.needs_input_grad[4:], Kept()
        given = [tensor.detach().requires_grad_(want) for tensor, want in zip(ctx.saved_tensors, wanted, strict=True)]
        with torch.enable_grad(), keeping_values(ctx.weights, own):
            found = ctx.run(tuple(given))
        if ctx.kept is not None:
            ctx.kept.block = max(ctx.kept.block, own.bytes)
        pairs = [(x, g) for x, g in zip(found, gradients, strict=True) if g is not None and x.requires_grad]
        if pairs:
            torch.autograd.backward([x for x, _ in pairs], [g for _, g in pairs])
        own_gradients = (tensor.grad if want else None for tensor, want in zip(given, wanted, strict=True))
        return (None, None, None, None, *own_gradients)


_PLACE = object()


def _take_apart(value: Any, tensors: list[Tensor]) -> Any:
    """The value with every tensor in its tuples, lists and dataclasses replaced by a mark; they go to ``tensors``."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _PLACE
    if isinstance(value, (tuple, list)):
        return type(value)(_take_apart(item, tensors) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return dataclasses.replace(value, **{name: _take_apart(getattr(value, name), tensors) for name in names})
    return value


def _put_together(value: Any, tensors: Iterator[Tensor]) -> Any:
    if value is _PLACE:
        return next(tensors)
    if isinstance(value, (tuple, list)):
        return type(value)(_put_together(item, tensors) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return dataclasses.replace(value, **{name: _put_together(getattr(value, name), tensors) for name in names})
    return value
