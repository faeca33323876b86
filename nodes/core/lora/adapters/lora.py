"""LoRA and LoCon: ``up @ down``, with a Tucker core (``lora_mid``) for some convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ...errors import AdapterFormatError
from .base import (
    Adapter,
    Described,
    Ranges,
    RowCut,
    Shape,
    Strength,
    Tensors,
    all_zero,
    as_float,
    mismatch,
    whole_cut,
)  # fmt: skip
from .lowrank import column_gram, gram_norm, gram_strength, row_gram, tucker_gram

if TYPE_CHECKING:
    from torch import Tensor


class LoraAdapter(Adapter):
    """``delta = scale * up @ down`` with ``down`` [rank, in, *kernel], ``up`` [out, rank, 1...].

    With ``mid`` [rank, rank, *kernel]: ``delta[o, i, k] = scale * sum_mn up[o, m] mid[m, n, k] down[n, i]``.
    Source: Hu et al. 2021 (2106.09685); the Tucker form as LyCORIS and ComfyUI build it.
    """

    name = "lora"
    suffixes: ClassVar[Mapping[str, str]] = {
        "lora_down.weight": "down",
        "lora_up.weight": "up",
        "lora_mid.weight": "mid",
        "lora_A.weight": "down",
        "lora_B.weight": "up",
        "lora_A.default.weight": "down",
        "lora_B.default.weight": "up",
        "lora_A": "down",
        "lora_B": "up",
        "lora_A.default": "down",
        "lora_B.default": "up",
        "lora.down.weight": "down",
        "lora.up.weight": "up",
        "lora_linear_layer.down.weight": "down",
        "lora_linear_layer.up.weight": "up",
        "lora_down": "down",
        "lora_up": "up",
        "reshape_weight": "reshape",
    }
    roles = frozenset({"down", "up", "mid", "reshape"})

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return "up" in shapes and "down" in shapes

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        up, down, mid = shapes["up"], shapes["down"], shapes.get("mid")
        if len(up) < 2 or len(down) < 2:
            raise mismatch("up and down", "matrices", f"{list(up)} and {list(down)}")
        rank = down[0]
        if mid is not None:
            if len(mid) < 2 or mid[0] != up[1] or mid[1] != down[0]:
                raise mismatch("lora_mid", f"[{up[1]}, {down[0]}, kernel]", list(mid))
            return Described("locon", rank, up[0], down[1], mid[2:])
        if up[1] != rank:
            raise mismatch("rank", f"{rank} as in down", f"{up[1]} in up")
        kernel = down[2:]
        note = "the model's weight is enlarged to the file's shape" if "reshape" in shapes else ""
        return Described("locon" if kernel else "lora", rank, up[0], down[1], kernel, note)

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        import torch

        up, down = as_float(tensors["up"]), as_float(tensors["down"])
        if "mid" in tensors:
            mid = as_float(tensors["mid"])
            delta = torch.einsum("mn...,om,ni->oi...", mid, up.flatten(1), down.flatten(1))
        else:
            delta = (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])
        delta = delta * scale
        return delta.reshape(weight.shape) if weight is not None else delta

    def strength(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Strength:
        return gram_strength(*_grams(tensors), scale)

    def norm(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> float:
        return gram_norm(*_grams(tensors), scale)

    def is_dead(self, tensors: Tensors) -> bool:
        return all_zero(tensors["up"], tensors["down"], tensors.get("mid"))

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        if "reshape" in shapes:
            raise AdapterFormatError("it enlarges the weight, and cannot be divided by rows")
        return whole_cut(ranges, {"up": (0, ranges)})


def _grams(tensors: Tensors) -> tuple[Tensor, Tensor]:
    """Gram matrices of the two factors, a Tucker core counted with the down factor."""
    up, down = column_gram(tensors["up"].flatten(1)), row_gram(tensors["down"].flatten(1))
    return up, tucker_gram(tensors["mid"], None, down) if "mid" in tensors else down
