"""How strong a patch is against the weight it changes, measured on the tensors that are really there."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import comfy.utils
import torch

from ...core.errors import AdapterFormatError
from ..comfyui.private import kept_weight
from ..comfyui.quiet_log import quiet_warnings
from ..match.roles import ODD_TENSORS, Parts
from .exact import exact_norm, exact_work
from .factor_products import product_norms

DENSE_LIMIT = 1 << 26
"""Largest number of elements of a delta that is built in full to be measured (256 MiB in float32)."""


NOT_FINITE = "its numbers are not finite: they make the weight NaN or infinite"


def delta_norm(
    parts: Parts, shape: tuple[int, ...], read_weight: Callable[[], torch.Tensor | None]
) -> tuple[float | None, str]:
    """Frobenius norm of what a patch adds to its weight at strength 1, and why it is missing if it is.

    A plain LoRA is measured from its two factors (:mod:`.factor_products`), LoHa, LoKr and GLoRA by the exact forms of
    the core library, every other format by letting ComfyUI's own adapter apply it to a copy of the weight.

    Args:
        shape: Shape of the weight, or of the slice that the patch is for.
        read_weight: Gives the unpatched weight (or slice) for formats that depend on it; ``None`` if it has none.
    """
    norm, why = _delta_norm(parts, shape, read_weight)
    return (norm, why) if norm is None else finite_norm(norm)


def finite_norm(norm: float) -> tuple[float | None, str]:
    """A norm that was found, or why it says nothing."""
    return (norm, "") if math.isfinite(norm) else (None, NOT_FINITE)


def _delta_norm(
    parts: Parts, shape: tuple[int, ...], read_weight: Callable[[], torch.Tensor | None]
) -> tuple[float | None, str]:
    if parts.kind == "model":
        return None, "a difference of two models is not measured"
    if parts.is_product:
        return product_deltas([parts])[0], ""
    if not parts.is_adapter:
        if parts.kind == "set":
            return None, "sets the weight instead of adding to it"
        return float(next(iter(parts.tensors.values())).double().norm()), ""
    exact = exact_norm(parts, read_weight)
    if exact is not None:
        return exact, ""
    size = math.prod(shape)
    if size > DENSE_LIMIT:
        return None, f"{parts.format} on a weight of {size} elements is not measured here"
    needs_weight = parts.by_writer or parts.magnitude is not None or parts.kind not in ("lora", "loha", "lokr")
    weight = read_weight() if needs_weight else torch.zeros(shape)
    if weight is None:
        return None, f"{parts.format} depends on the weight, which cannot be read"
    weight = weight.detach().to(device="cpu", dtype=torch.float32)
    patched = _apply_quietly(parts.value, weight.clone())
    if patched is None:
        return None, f"{parts.format} failed on this weight"
    if patched.shape != weight.shape:
        return None, f"{parts.format} gives the weight another shape"
    return float((patched - weight).double().norm()), ""


def norm_work(parts: Parts, shape: tuple[int, ...]) -> int:
    """About how many numbers have to be made or read for :func:`delta_norm`; 0 where the factors alone tell it."""
    if parts.kind == "model":
        return 0
    size = math.prod(shape)
    if not parts.is_adapter:
        return 0 if parts.kind == "set" else size // 4
    exact = exact_work(parts)
    return size if exact is None else min(exact, size)


def product_deltas(patches: Sequence[Parts]) -> list[float]:
    """Norms of what plain LoRAs add at strength 1, all at once."""
    norms = product_norms([(parts.tensors["up"], parts.tensors["down"]) for parts in patches])
    return [norm * abs(parts.scale) for norm, parts in zip(norms, patches, strict=True)]


def _apply_quietly(adapter: Any, weight: torch.Tensor) -> torch.Tensor | None:
    """The weight with the adapter at strength 1; ``None`` where it failed, which adapters write to the log."""
    with quiet_warnings() as seen:
        try:
            result = adapter.calculate_weight(weight, "measured", 1.0, 1.0, None, lambda a: a, torch.float32, None)
        except (AdapterFormatError, *ODD_TENSORS):
            return None
    return None if seen else result


class WeightNorms:
    """Frobenius norms of a model's own weights, measured once for each loaded model.

    Norms belong to the unpatched weights: where ComfyUI has merged a patch into a weight, its backup is read.
    """

    def __init__(self) -> None:
        self._by_model: weakref.WeakKeyDictionary[Any, dict[Any, float]] = weakref.WeakKeyDictionary()

    def get(self, patcher: Any, key: str, offset: tuple[int, int, int] | None = None) -> tuple[float | None, str]:
        """Norm of the weight ``key`` of ``patcher`` (or of its slice), and why it is missing if it is."""
        known = self._by_model.setdefault(patcher.model, {})
        if (key, offset) not in known:
            weight = read_weight(patcher, key, offset)
            if weight is None:
                return None, "the weight cannot be read (it is stored packed or is on no device)"
            known[key, offset] = frobenius_norm(weight)
        return known[key, offset], ""


WEIGHT_NORMS = WeightNorms()
"""Shared by all nodes; entries die with their model."""


def frobenius_norm(weight: torch.Tensor) -> float:
    """Norm of a tensor of any float dtype, summed in float64 over float32 blocks."""
    flat = weight.detach().reshape(-1)
    total = 0.0
    for block in flat.split(1 << 22):
        total += float(block.to(torch.float32).double().square().sum())
    return total**0.5


def read_weight(patcher: Any, key: str, offset: tuple[int, int, int] | None = None) -> torch.Tensor | None:
    """The weight behind a key as numbers, before any patch, or its slice; ``None`` if it cannot be read.

    The module's own parameter is read, not the state dict, which holds quantised weights without their scale.
    """
    kept = kept_weight(patcher, key)
    weight: Any = parameter(patcher, key) if kept is None else kept
    if weight is None or getattr(weight, "is_meta", False) or _is_packed(weight):
        return None
    if type(weight) not in (torch.Tensor, torch.nn.Parameter) and hasattr(weight, "dequantize"):
        weight = weight.dequantize()
    if not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
        return None
    weight = weight.detach()
    return weight if offset is None else weight.narrow(*offset)


def _is_packed(weight: Any) -> bool:
    """Whether a weight is bytes of a GGUF format: its own ``dequantize`` knows nothing of that."""
    kind = getattr(weight, "tensor_type", None)
    return kind is not None and getattr(kind, "name", "") not in ("F32", "F16", "BF16")


def parameter(patcher: Any, key: str) -> Any:
    """The parameter itself; the state dict holds a quantised one taken apart."""
    try:
        return comfy.utils.get_attr(patcher.model, key)
    except AttributeError:
        return None
