"""The model that is taught: a copy of the target with trainable factors beside its linear layers."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor
from torch.nn import functional

from ..comfyui.private import is_dynamic
from ..transfer.activations import block_modules
from ..transfer.probes import Conditioning
from .batches import Evaluator, inside
from .factors import Factors
from .recompute import Kept, addresses, keeping_values, recompute_blocks

Result = TypeVar("Result")

RECOMPUTE_BYTES = 512 << 20
"""Models beyond this compute their blocks twice instead of keeping what lies inside them."""


class Student:
    """A private copy of a model, with factors. Nothing is ever attached to the model that it was made of."""

    def __init__(self, model: Any, factors: Sequence[Factors], recompute: bool | None = None) -> None:
        """Copy the model.

        Args:
            recompute: Compute blocks twice; ``None`` decides by the size of the model.
        """
        self.patcher = private_copy(model)
        self.factors = list(factors)
        self.enabled = True
        self.calls: dict[str, int] = {}
        """How often each layer ran with its factors."""
        self.kept = Kept()
        """What gradients have kept."""
        self._recompute = model.model_size() > RECOMPUTE_BYTES if recompute is None else recompute
        self._device: torch.device = model.load_device

    @property
    def parameters(self) -> list[Tensor]:
        """The factors, up and down of each layer."""
        return [tensor for one in self.factors for tensor in (one.up, one.down)]

    def to_device(self) -> None:
        """Make the factors trainable, float32, where the model computes."""
        for one in self.factors:
            one.up, one.down = (
                tensor.detach().to(self._device, torch.float32).clone().requires_grad_(True)
                for tensor in (one.up, one.down)
            )

    def values(self) -> list[Tensor]:
        """Copies of the factors."""
        return [tensor.detach().clone() for tensor in self.parameters]

    def load(self, values: Sequence[Tensor]) -> None:
        """Put other numbers into the factors."""
        with torch.no_grad():
            for tensor, value in zip(self.parameters, values, strict=True):
                tensor.copy_(value)

    @contextmanager
    def holding(self, values: Sequence[Tensor]) -> Iterator[None]:
        """While it is entered, the factors have other numbers."""
        before = self.values()
        self.load(values)
        try:
            yield
        finally:
            self.load(before)

    @contextmanager
    def plain(self) -> Iterator[None]:
        """While it is entered, the factors do nothing."""
        self.enabled = False
        try:
            yield
        finally:
            self.enabled = True

    def inside(self, prompts: Conditioning, latent: Tensor, work: Callable[[Evaluator], Result]) -> Result:
        """Load the copy with its factors beside it and do ``work``; gradients may be taken."""

        def with_hooks(evaluator: Evaluator) -> Result:
            with ExitStack() as stack:
                for one in self.factors:
                    layer = comfy.utils.get_attr(self.patcher.model, one.layer)
                    stack.callback(layer.register_forward_hook(self._term(one)).remove)
                stack.enter_context(_in_training())
                weights = addresses(self.patcher.model)
                if self._recompute:
                    stack.enter_context(recompute_blocks(block_modules(self.patcher).values(), weights, self.kept))
                stack.enter_context(keeping_values(weights, self.kept))
                return work(evaluator)

        return inside(self.patcher, prompts, latent, with_hooks)

    def _term(self, one: Factors) -> Callable[..., Tensor | None]:
        def hook(module: Any, args: tuple[Any, ...], output: Any) -> Tensor | None:
            if not self.enabled or not args or not isinstance(output, Tensor):
                return None
            self.calls[one.key] = self.calls.get(one.key, 0) + 1
            x = args[0]
            low = functional.linear(x, one.down.to(x.dtype))
            return output + functional.linear(low, one.up.to(x.dtype)).to(output.dtype)

        return hook


@contextmanager
def _in_training() -> Iterator[None]:
    """ComfyUI's own switch (``model_management.in_training``): kernels without a gradient are left aside."""
    before = getattr(comfy.model_management, "in_training", None)
    comfy.model_management.in_training = True
    try:
        yield
    finally:
        if before is None:
            del comfy.model_management.in_training
        else:
            comfy.model_management.in_training = before


def private_copy(model: Any) -> Any:
    """A copy of a ``ModelPatcher`` with weights of its own, all of which autograd may use.

    As ComfyUI's own trainer does it: dynamic VRAM gives way to ordinary loading, and the numbers are copied outside
    inference mode. Patches of the model stay patches of the copy.
    """
    with torch.inference_mode(False):
        if is_dynamic(model):
            copied = model.clone(disable_dynamic=True, **_forced(model))
        else:
            comfy.model_management.unload_all_models()  # so that the weights are those without patches
            inner = model.model
            memo: dict[int, Any] = {id(x): None for x in (model, getattr(inner, "current_patcher", None)) if x}
            memo[id(inner.model_config)] = inner.model_config  # cannot be copied, and nothing changes it
            for weight in inner.parameters():
                if type(weight) is not torch.nn.Parameter or type(weight.data) is not Tensor:  # quantised
                    memo[id(weight)] = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)
            copied = model.clone(model_override=(copy.deepcopy(inner, memo), ({}, {}, {}, set())))
        copied.model.requires_grad_(False)
    return copied


def _forced(model: Any) -> dict[str, bool]:
    """``force_deepcopy`` where ComfyUI knows it."""
    return {"force_deepcopy": True} if "force_deepcopy" in inspect.signature(model.clone).parameters else {}
