"""Whether ComfyUI can add a patch to a weight, found out by its own code and without touching the weight."""

from __future__ import annotations

import functools

import comfy.lora
import torch

from ..comfyui.quiet_log import quiet_warnings
from .roles import PatchValue, read_parts, with_parts

_KNOWN: dict[object, str] = {}
_MOST_KNOWN = 10_000


def dry_run(value: PatchValue, shape: tuple[int, ...], offset: tuple[int, int, int] | None) -> str | None:
    """Why ComfyUI cannot add a patch to a weight of this shape; empty if it can, ``None`` where this does not tell.

    Its own code runs on a weight without storage. Adapters that fail log it and leave the weight as it is, so the log
    is what tells.
    """
    weight = torch.empty(shape, device="meta", dtype=torch.float32)
    with quiet_warnings() as seen:
        try:
            comfy.lora.calculate_weight(
                [(1.0, _without_constraint(value), 1.0, offset, None)], weight, "checked", torch.float32
            )
        except NotImplementedError:
            return None
        except Exception as error:  # ComfyUI would let it through and stop
            return f"ComfyUI stops with an error at it: {str(error).splitlines()[0][:200]}"
    return f"ComfyUI cannot add it to the weight: {seen[0][:200]}" if seen else ""


@functools.cache
def sets_another_shape() -> bool:
    """Whether the installed ComfyUI lets a replacement change the shape of a weight (since pull request 15908)."""
    one, two = torch.zeros(1, 1), torch.zeros(2, 1)
    with quiet_warnings():
        try:
            result = comfy.lora.calculate_weight([(1.0, ("set", (two,)), 1.0, None, None)], one, "checked")
        except (RuntimeError, ValueError, TypeError):
            return False
    return tuple(result.shape) == (2, 1)


def _without_constraint(value: PatchValue) -> PatchValue:
    """OFT's constraint depends on numbers, which a weight without storage does not have; shapes do not need it."""
    parts = read_parts(value)
    if parts.by_writer or parts.kind not in ("oft", "boft") or parts.alpha is None:
        return value
    return with_parts(value, alpha=0.0)


def contradiction(value: PatchValue, shape: tuple[int, ...]) -> str:
    """Why the tensors of an adapter make no change of a weight of ``shape``; found once for tensors of these shapes."""
    parts = tuple(tuple(part.shape) if isinstance(part, torch.Tensor) else part is None for part in value.weights)
    key = (type(value), parts, shape)
    if key not in _KNOWN:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = "its tensors contradict each other" if dry_run(value, shape, None) else ""
    return _KNOWN[key]
