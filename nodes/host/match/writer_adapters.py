"""Adapters whose arithmetic is the writer's, where ComfyUI's own differs or is missing.

All state lies in ``weights``: ComfyUI rebuilds an adapter as ``type(v)(v.loaded_keys, v.weights)`` when it stages
weights. Strength is linear: ``weight + strength * delta``. A failure is raised, never logged and forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import comfy.model_management
import torch
from comfy.weight_adapter import BOFTAdapter, OFTAdapter, WeightAdapterBase

from ...core.errors import AdapterFormatError
from ...core.lora.adapters import ADAPTERS, Adapter, dora_delta
from ...core.lora.adapters.diff import peft_ia3_dims, peft_ia3_factor
from ...core.lora.adapters.oft import oft_generators
from ...core.lora.file import LoraLayer

_BY_NAME: Mapping[str, Adapter] = {adapter.name: adapter for adapter in ADAPTERS}

PEFT_OFT = "oft_2"
IA3 = "ia3"
NEUMANN_TERMS = 5
"""What PEFT and OneTrainer use unless told otherwise; 0 here means the exact Cayley transform."""

Function = Callable[[torch.Tensor], torch.Tensor]


class WriterAdapter(WeightAdapterBase):
    """Any format of the core library, with a scale and optionally a DoRA magnitude.

    ``weights`` is ``(format, roles, scale, options, *tensors)``: all but the tensors are plain values.
    """

    name = "writer"

    def __init__(self, loaded_keys: set[str], weights: tuple[Any, ...]) -> None:
        self.loaded_keys = loaded_keys
        self.weights = weights

    @classmethod
    def make(
        cls, format_name: str, tensors: Mapping[str, torch.Tensor], scale: float = 1.0, options: tuple[int, ...] = ()
    ) -> WriterAdapter:
        """An adapter of ``tensors`` by role."""
        return cls(set(), (format_name, tuple(tensors), float(scale), options, *tensors.values()))

    @property
    def kind(self) -> str:
        """The core library's name of the format."""
        return str(self.weights[0])

    @property
    def format(self) -> str:
        """Format in the field's words, DoRA named: ``dora (lora)``."""
        return f"dora ({self.kind})" if self.has_magnitude else self.kind

    @property
    def has_magnitude(self) -> bool:
        """Whether it rescales the rows or columns of the weight (DoRA)."""
        return "dora_scale" in self.weights[1]

    @property
    def options(self) -> tuple[int, ...]:
        """How the transform is computed, where it departs from the default."""
        return self.weights[3]

    @property
    def scale(self) -> float:
        """What the product of the factors is multiplied with."""
        return float(self.weights[2])

    def tensors(self, device: torch.device | None = None) -> dict[str, torch.Tensor]:
        """The tensors by role, on ``device`` if one is given."""
        named = dict(zip(self.weights[1], self.weights[4:], strict=True))
        if device is None:
            return named
        return {r: comfy.model_management.cast_to_device(t, device, t.dtype) for r, t in named.items()}

    def misfit(self, shape: tuple[int, ...]) -> str:
        """Why this cannot change a weight of ``shape``; an empty text if it can."""
        try:
            return _misfit(self.kind, self.tensors(), shape) or _misfit_sides(self.tensors(), shape)
        except AdapterFormatError as error:
            return str(error)
        except LookupError:
            return f"its {self.format} tensors contradict each other"

    def is_dead(self) -> bool:
        """Whether a factor is all zero. A DoRA rescales the weight all the same."""
        if self.has_magnitude:
            return False
        return _BY_NAME[self.kind].is_dead(self.tensors())

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """What is added to ``weight`` at strength 1, float32, on its device."""
        kind, tensors = self.kind, self.tensors(weight.device)
        magnitude = tensors.pop("dora_scale", None)
        with torch.device(weight.device):
            if kind == PEFT_OFT:
                delta = _peft_oft(oft_generators(tensors), weight, *(self.options or (NEUMANN_TERMS,)))
            else:
                delta = _BY_NAME[kind].delta(tensors, self.scale, weight)
            if magnitude is not None:
                delta = dora_delta(delta, magnitude, weight)
        return delta.reshape(weight.shape)

    def calculate_weight(
        self,
        weight: torch.Tensor,
        key: str,
        strength: float,
        strength_model: float,
        offset: tuple[int, int, int] | None,
        function: Function,
        intermediate_dtype: torch.dtype = torch.float32,
        original_weight: Any = None,
    ) -> torch.Tensor:
        inside = function(weight)
        if inside is not weight and not torch.equal(function(inside), weight):
            raise AdapterFormatError(f"{key}: the layout of this weight cannot be turned back for {self.format}")
        weight += function(strength * self.delta(inside)).to(weight.dtype)
        return weight

    def h(self, x: torch.Tensor, base_out: torch.Tensor) -> torch.Tensor:
        return _no_bypass(self.format)

    def bypass_forward(self, org_forward: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return _no_bypass(self.format)


def _no_bypass(what: str) -> NoReturn:
    raise NotImplementedError(f"{what} depends on the weight and cannot run beside it: use the method merge")


class LinearOft(OFTAdapter):
    """ComfyUI's OFT, whose strength counts once. At strength 1 it is ComfyUI's own, bit for bit.

    ComfyUI 0.30 multiplies with the strength twice, so that 0.5 is a quarter.
    """

    AT_OTHER_STRENGTHS = "the stock loader counts the strength of OFT twice"

    def calculate_weight(self, weight: torch.Tensor, key: str, strength: float, *rest: Any, **more: Any) -> Any:
        if strength == 1.0:
            return super().calculate_weight(weight, key, strength, *rest, **more)
        return _linear("oft", self.weights).calculate_weight(weight, key, strength, *rest, **more)


class LinearBoft(BOFTAdapter):
    """The same for BOFT, whose strength ComfyUI puts into every stage and then once more."""

    AT_OTHER_STRENGTHS = "the stock loader counts the strength of BOFT in every stage and once more"

    def calculate_weight(self, weight: torch.Tensor, key: str, strength: float, *rest: Any, **more: Any) -> Any:
        if strength == 1.0:
            return super().calculate_weight(weight, key, strength, *rest, **more)
        return _linear("boft", self.weights).calculate_weight(weight, key, strength, *rest, **more)


def _linear(kind: str, weights: tuple[Any, ...]) -> WriterAdapter:
    blocks, rescale, constraint, _ = weights
    tensors = {"oft_blocks": blocks}
    if rescale is not None:
        tensors["rescale"] = rescale
    if constraint:
        tensors["alpha"] = torch.tensor(float(constraint))
    return WriterAdapter.make(kind, tensors)


def writer_adapter(
    layer: LoraLayer, tensors: Mapping[str, torch.Tensor], options: tuple[int, ...] = ()
) -> WriterAdapter:
    """The writer's arithmetic for one layer of a file.

    Args:
        tensors: The layer's tensors by role. ``alpha`` counts only for rotations, whose bound it is.
    """
    if layer.adapter is None:
        raise AdapterFormatError(layer.note or "the format is not known")
    kept = {role: tensor for role, tensor in tensors.items() if role != "alpha" or not layer.adapter.scaled_by_alpha}
    if "dora_scale" in kept and layer.dora != "dora_scale":
        # PEFT and ai-toolkit keep one value for each row, whatever the shape ([1, out, 1, 1] for a convolution).
        kept["dora_scale"] = kept["dora_scale"].reshape(-1)
    return WriterAdapter.make(layer.adapter.name, kept, layer.scale, options)


def _misfit(kind: str, tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> str:
    if len(shape) < 1:
        return f"{kind} is for a matrix, the weight is a single number"
    columns = math.prod(shape[1:])
    if kind == IA3:
        return _misfit_ia3(tensors, shape)
    described = _BY_NAME[kind].describe({role: tuple(tensor.shape) for role, tensor in tensors.items()})
    rows, inputs = described.out_features, described.in_features
    if kind == PEFT_OFT and inputs is None:
        size = described.rank or 1
        return "" if columns % size == 0 else f"turns columns in blocks of {size}, the weight has {columns}"
    inputs = inputs * math.prod(described.kernel) if inputs is not None else None
    if (rows is not None and rows != shape[0]) or (inputs is not None and inputs != columns):
        wanted = " x ".join("any" if side is None else str(side) for side in (rows, inputs))
        return f"changes a weight of {wanted}, the model's is {' x '.join(map(str, shape))}"
    return ""


def _misfit_sides(tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> str:
    """Why the numbers for rows or columns are not as many as the weight has."""
    magnitude, rescale = tensors.get("dora_scale"), tensors.get("rescale")
    if magnitude is not None and (len(shape) < 2 or magnitude.numel() not in shape[:2]):
        return f"has {magnitude.numel()} magnitudes (DoRA), the weight is {' x '.join(map(str, shape))}"
    if rescale is not None and rescale.numel() != shape[0]:
        return f"rescales {rescale.numel()} rows, the weight has {shape[0]}"
    return ""


def _misfit_ia3(tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> str:
    if "ia3_l" in tensors:
        peft_ia3_factor(tensors["ia3_l"], shape)
        return ""
    on_input = "on_input" in tensors and bool(tensors["on_input"].float().any())
    found, side = tensors["ia3_weight"].numel(), "columns" if on_input else "rows"
    wanted = shape[min(1 if on_input else 0, len(shape) - 1)]
    return "" if found == wanted else f"scales {found} {side}, the weight has {wanted}"


def ia3_dims(vector: torch.Tensor, shape: tuple[int, ...]) -> list[int]:
    """The dimensions of a weight of ``shape`` that PEFT's IA3 vector may scale."""
    return peft_ia3_dims(tuple(vector.shape), shape)


def _peft_oft(packed: torch.Tensor, weight: torch.Tensor, terms: int) -> torch.Tensor:
    """``W R^T - W`` with block-diagonal ``R`` from the upper triangles of skew matrices (PEFT, OneTrainer OFT 2)."""
    size = (1 + math.isqrt(1 + 8 * packed.shape[1])) // 2
    skew = torch.zeros(packed.shape[0], size, size)
    rows, columns = torch.triu_indices(size, size, 1)
    skew[:, rows, columns] = packed
    skew = skew - skew.transpose(1, 2)
    eye = torch.eye(size)
    if terms == 0:
        change = torch.linalg.solve(eye + skew, eye - skew, left=False) - eye
    else:
        change = _neumann_series(skew, terms)
    blocks = weight.float().flatten(1).reshape(weight.shape[0], -1, size)
    return torch.einsum("obi,bji->obj", blocks, change.expand(blocks.shape[1], -1, -1)).reshape(weight.shape)


def _neumann_series(skew: torch.Tensor, terms: int) -> torch.Tensor:
    """``R - I`` for PEFT's Cayley-Neumann series: 2Q + 2Q^2 + ... with the last power counted once."""
    change = torch.zeros_like(skew)
    if terms > 1:
        change = change + 2 * skew
    if terms > 2:
        power = torch.bmm(skew, skew)
        change = change + 2 * power
        for _ in range(3, terms - 1):
            power = torch.bmm(power, skew)
            change = change + 2 * power
        change = change + torch.bmm(power, skew)
    return change
