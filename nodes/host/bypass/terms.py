"""One of ComfyUI's patches as a term beside its weight, or the reason why it cannot be one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import comfy.lora
import torch

from ...core.errors import AdapterFormatError
from ...core.lora.adapters.rows import take
from ...core.lora.bypass_factors import Dense, Glora, Kronecker, LowRank, Part, small_factors
from ...core.match.name_table import Target, target_function, target_key, target_offset
from ..comfyui.model_keys import row_order
from ..match.roles import ODD_TENSORS, Parts, PatchValue

Offset = tuple[int, int, int]

_ADDITIVE = frozenset({"lora", "loha", "lokr", "diff", "diff_b"})


@dataclass(frozen=True, eq=False)
class Beside:
    """A patch that runs beside the layer ``module``."""

    module: str
    """Path of the layer in the model, without ``.weight``."""
    bias: bool
    offset: Offset | None
    outline: Part
    """The part with its kind and its shapes; without numbers (meta tensors) where ``build`` gives it."""
    build: Callable[[], Part] | None = None

    @property
    def part(self) -> Part:
        """The part itself, made anew each time: the products of factors are as large as a good part of the model."""
        return self.outline if self.build is None else self.build()


@dataclass
class LayerKind:
    """What kind of layer a module is, as far as its forward pass goes."""

    kind: str = ""
    """``linear``, ``conv`` or empty."""
    reason: str = ""
    """Why nothing can run beside it."""
    options: dict[str, Any] = field(default_factory=dict)
    """``stride``, ``padding``, ``dilation`` of a convolution."""


def layer_kind(module: Any) -> LayerKind:
    """How a module computes; quantised linears of ComfyUI are no ``nn.Linear`` but have its attributes."""
    if isinstance(module, torch.nn.Linear):
        return LayerKind("linear")
    if isinstance(module, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)):
        if module.groups != 1:
            return LayerKind(reason="its layer is a grouped convolution")
        if module.padding_mode != "zeros":
            return LayerKind(reason=f"its layer pads with {module.padding_mode}")
        options = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation}
        return LayerKind("conv", options=options)
    plain = all(isinstance(getattr(module, name, None), int) for name in ("in_features", "out_features"))
    if plain and "num_experts" not in vars(module):
        return LayerKind("linear")
    return LayerKind(reason="it changes a parameter that is neither of a linear layer nor of a convolution")


def beside(parts: Parts, target: Target, shape: tuple[int, ...], module: Any) -> Beside | str:
    """A patch as a term beside ``module``, or the reason why it has to be merged.

    Args:
        target: The patch's target: the model key, with offset and function where there are any.
        shape: Shape of the whole weight.
        module: The layer that owns the weight.
    """
    key, offset = target_key(target), target_offset(target)
    function = target_function(target)
    name, _, parameter = key.rpartition(".")
    if parameter not in ("weight", "bias"):
        return "it changes a parameter that is neither a weight nor a bias"
    kind = layer_kind(module)
    if kind.reason:
        return kind.reason
    reason = _refusal(parts)
    if reason:
        return reason
    if offset is not None:
        if offset[0] != 0 and (kind.kind != "linear" or offset[0] != 1):
            return "it changes only some input channels of a convolution"
        shape = (*shape[: offset[0]], offset[2], *shape[offset[0] + 1 :])
    if offset is not None and parts.kind == "glora":
        return "its term in the weight is for a part of a fused weight only, and the layer has one input for all"
    bias = parameter == "bias"
    try:
        part = _part(parts, shape, function, bias, key, outline=True)
    except (AdapterFormatError, *ODD_TENSORS) as error:
        return f"its tensors do not go together ({error})"
    if isinstance(part, str):
        return part
    rows = _rows(part)
    if rows != shape[0]:
        return f"it changes {rows} rows, the weight has {shape[0]}"
    return Beside(name, bias, offset, part, lambda: _built(_part(parts, shape, function, bias, key)))


def _built(part: Part | str) -> Part:
    assert not isinstance(part, str)  # the outline was none
    return part


def _rows(part: Part) -> int:
    if isinstance(part, LowRank):
        return int(part.up.shape[0])
    if isinstance(part, Kronecker):
        return int(part.first.shape[0] * part.second.shape[0])
    return int(part.b1.shape[0] if isinstance(part, Glora) else part.delta.shape[0])


def _refusal(parts: Parts) -> str:
    """Why a patch is no sum of the weight and something that does not depend on it."""
    if parts.kind == "model":
        return "it is the difference of two models"
    if parts.magnitude is not None:
        return f"{parts.format} rescales the weight itself"
    if parts.kind == "set":
        return "it replaces the weight"
    if parts.new_shape is not None:
        return "it enlarges the weight"
    if parts.kind != "glora" and parts.kind not in _ADDITIVE:
        return f"{parts.format} turns or rescales the weight itself"
    return ""


def _part(
    parts: Parts, shape: tuple[int, ...], function: Any, bias: bool, key: str, outline: bool = False
) -> Part | str:
    """The part, or why there is none. With ``outline`` it has no numbers, and costs nothing."""
    kind = parts.kind
    if kind == "glora" and function is not None:
        return "glora on a weight whose halves are swapped"
    if function is None and not bias and parts.is_adapter:
        part = small_factors(kind, *_roles(parts, outline), shape)
        if part is not None:
            return part
    if kind == "glora":
        return "glora on a convolution"
    if kind == "lora" and function is not None and len(shape) == 2:
        roles, scale = _roles(parts, outline)
        order = row_order(function, shape[0])
        if order is not None:
            part = small_factors("lora", {**roles, "up": take(roles["up"].flatten(1), 0, order)}, scale, shape)
            if part is not None:
                return part
    if outline:
        return Dense(torch.empty(shape, device="meta", dtype=torch.float32))
    return Dense(whole_delta(parts.value, shape, function, key))


def whole_delta(value: PatchValue, shape: tuple[int, ...], function: Any, key: str) -> torch.Tensor:
    """What an additive patch adds at strength 1, by ComfyUI's own arithmetic, float32."""
    patch = (1.0, value, 1.0, None, function)
    return comfy.lora.calculate_weight([patch], torch.zeros(shape, dtype=torch.float32), key)


def _roles(parts: Parts, outline: bool = False) -> tuple[dict[str, torch.Tensor], float]:
    """An adapter's tensors by role, and the scale of their product; with ``outline`` without their numbers."""
    if not parts.complete:
        raise AdapterFormatError("this version of ComfyUI keeps it in a form that is not known here")
    return {role: tensor.to("meta") if outline else tensor for role, tensor in parts.tensors.items()}, parts.scale
