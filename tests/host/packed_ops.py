"""Layers whose weights are packed bytes with a logical shape, patched whenever they are used: ComfyUI-GGUF's contract.

What our code relies on, written down from its behaviour: a tensor subclass with ``tensor_type`` and ``tensor_shape``, a
state dict without values, a patcher that hangs patches on the tensor instead of adding them, and a forward pass that
unpacks, patches and multiplies.
"""

from __future__ import annotations

import enum
from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch


class PackedType(enum.IntEnum):
    """Names as GGUF has them."""

    F32 = 0
    Q8_0 = 8


class PackedTensor(torch.Tensor):
    """Bytes that stand for float32 numbers of ``tensor_shape``."""

    tensor_type: PackedType
    tensor_shape: torch.Size
    patches: list[Any]

    @classmethod
    def pack(cls, weight: torch.Tensor) -> PackedTensor:
        packed = weight.float().contiguous().view(torch.uint8).as_subclass(cls)
        packed.tensor_type, packed.tensor_shape, packed.patches = PackedType.Q8_0, weight.shape, []
        return packed

    def unpack(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor).view(torch.float32).reshape(self.tensor_shape)

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        return getattr(self, "tensor_shape", self.size())

    def to(self, *args: Any, **kwargs: Any) -> PackedTensor:
        moved = super().to(*args, **kwargs)
        return _like(moved, self)

    def detach(self) -> PackedTensor:
        return self

    def clone(self, *args: Any, **kwargs: Any) -> PackedTensor:
        return self


def _like(tensor: Any, other: PackedTensor) -> PackedTensor:
    tensor.tensor_type, tensor.tensor_shape = other.tensor_type, other.tensor_shape
    tensor.patches = list(getattr(other, "patches", []))
    return tensor


class PackedOps(comfy.ops.manual_cast):
    """Linear layers with packed weights; everything else as ComfyUI has it."""

    class Linear(comfy.ops.manual_cast.Linear):
        comfy_cast_weights = True

        def __init__(self, in_features: int, out_features: int, bias: bool = True, **_: Any) -> None:
            torch.nn.Module.__init__(self)
            self.in_features, self.out_features = in_features, out_features
            self.weight = self.bias = None

        def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *_: Any) -> None:
            self.weight = torch.nn.Parameter(state[f"{prefix}weight"], requires_grad=False)

        def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
            destination[f"{prefix}weight"] = torch.zeros_like(self.weight, device="meta")

        def forward_comfy_cast_weights(self, input: torch.Tensor) -> torch.Tensor:
            weight = self.weight
            if isinstance(weight, PackedTensor):
                patches, weight = weight.patches, weight.unpack().clone()
                for rows, key in patches:
                    weight = comfy.lora.calculate_weight(rows, weight, key)
            return torch.nn.functional.linear(input, weight.to(input.dtype))


class PackedPatcher(comfy.model_patcher.ModelPatcher):
    """Hangs the patches on packed weights; takes them off again."""

    def patch_weight_to_device(self, key: str, device_to: Any = None, inplace_update: bool = False, **_: Any) -> None:
        if key not in self.patches:
            return
        weight = comfy.utils.get_attr(self.model, key)
        if not isinstance(weight, PackedTensor):
            return super().patch_weight_to_device(key, device_to, inplace_update)
        weight.patches = [(self.patches[key], key)]

    def unpatch_model(self, device_to: Any = None, unpatch_weights: bool = True) -> Any:
        if unpatch_weights:
            for parameter in self.model.parameters():
                if isinstance(parameter, PackedTensor):
                    parameter.patches = []
        return super().unpatch_model(device_to=device_to, unpatch_weights=unpatch_weights)


def packed_model(state: dict[str, torch.Tensor]) -> Any:
    """A patcher of the model, its matrices packed."""
    import comfy.sd

    packed = {key: PackedTensor.pack(tensor) if tensor.dim() == 2 else tensor for key, tensor in state.items()}
    model = comfy.sd.load_diffusion_model_state_dict(packed, model_options={"custom_operations": PackedOps})
    model.__class__ = PackedPatcher
    return model
