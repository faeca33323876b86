"""In what dtype a tensor is written, and what rounding it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PatchbayError
from .layer import AS_IN_FILE, UNTOUCHED, BakeLayer, BakeOptions

if TYPE_CHECKING:
    from torch import Tensor
    from torch import dtype as DType  # noqa: N812


def largest_tensor(layer: BakeLayer) -> Tensor:
    """The largest tensor: its dtype is the layer's."""
    return max(layer.tensors.values(), key=lambda tensor: tensor.numel())


def dtype_for(tensor: Tensor, role: str, options: BakeOptions) -> DType:
    """The dtype that a tensor of this role is written in."""
    import torch

    if role in UNTOUCHED or options.dtype == AS_IN_FILE or not tensor.is_floating_point():
        return tensor.dtype
    return getattr(torch, options.dtype)


def cast_checked(tensor: Tensor, dtype: DType, name: str) -> Tensor:
    """The tensor in another dtype.

    Raises:
        PatchbayError: a value is too large for it.
    """
    result = tensor.to(dtype)
    if result is not tensor and result.is_floating_point() and tensor.is_floating_point():
        finite = bool(tensor.float().isfinite().all())
        if finite and not bool(result.float().isfinite().all()):
            raise PatchbayError(
                f"{name}: a value is too large for {str(dtype).removeprefix('torch.')}; choose float32 or bfloat16."
            )
    return result


def rounding_error(exact: Tensor, stored: Tensor) -> float:
    """``|stored - exact| / |exact|``; 0 where nothing was rounded."""
    import torch

    if stored.dtype == exact.dtype or not exact.is_floating_point():
        return 0.0
    wide = exact.double()
    total = float(torch.linalg.vector_norm(wide))
    return float(torch.linalg.vector_norm(stored.double() - wide)) / total if total else 0.0
