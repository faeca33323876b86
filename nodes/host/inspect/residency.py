"""Where the weights of the loaded models lie right now: on the device, or streamed to it layer by layer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management

from ...core.model.blocks import MODEL_PREFIX, BlockLayout
from ..comfyui.model_keys import is_storage

VBAR_PAGE_BYTES = 32 << 20
"""Page of ComfyUI's dynamic loader (``VBAR_PAGE_SIZE`` in comfy_aimdo)."""

NOT_TOLD = "this version of ComfyUI's dynamic loading does not tell what is resident"


@dataclass(frozen=True)
class LayerResidency:
    """Bytes of one layer's parameters, and how many of them need no transfer before a step."""

    block: str
    layer: str
    bytes: int
    resident: int | None
    """``None`` where it is not known."""


@dataclass(frozen=True)
class LoadedModel:
    """One diffusion model that ComfyUI holds loaded."""

    model_class: str
    weight_count: int
    """Names and counts as in a report's model summary, by which the panel finds the model of a report."""
    device: str
    dynamic: bool
    """Whether ComfyUI's dynamic loader decides from step to step."""
    layers: tuple[LayerResidency, ...] = field(default=())
    not_known: str = ""
    """Why figures are missing."""


def loaded_models() -> list[LoadedModel]:
    """The diffusion models that are loaded, the most recently used first. Only reads attributes; moves nothing."""
    found: list[LoadedModel] = []
    for entry in list(comfy.model_management.current_loaded_models):
        patcher = entry.model
        if patcher is None or not hasattr(patcher.model, "diffusion_model"):
            continue
        try:
            found.append(_describe(patcher, entry.device))
        except (RuntimeError, KeyError) as error:  # the run goes on meanwhile and may take the model apart
            logging.debug("LoRA Patchbay: a model changed while it was looked at: %s", error)
    return found


def _describe(patcher: Any, device: Any) -> LoadedModel:
    state = {key: None for key in patcher.model.state_dict()}
    layout = BlockLayout(state)
    sums: dict[tuple[str, str], list[int | None]] = {}
    dynamic = bool(getattr(patcher, "is_dynamic", bool)())
    for key, size, resident in _parameters(patcher.model, device):
        place = layout.place(key)
        entry = sums.setdefault((place.address, place.layer), [0, 0])
        entry[0] = (entry[0] or 0) + size
        entry[1] = None if resident is None or entry[1] is None else entry[1] + resident
    layers = tuple(LayerResidency(*where, total or 0, resident) for where, (total, resident) in sums.items())
    unknown = any(layer.resident is None for layer in layers)
    weights = [key for key in state if key.startswith(MODEL_PREFIX) and not is_storage(key)]
    return LoadedModel(
        model_class=type(patcher.model).__name__,
        weight_count=len(weights),
        device=str(device),
        dynamic=dynamic,
        layers=layers,
        not_known=NOT_TOLD if unknown else "",
    )


def _parameters(model: Any, device: Any) -> Iterator[tuple[str, int, int | None]]:
    """``(key, bytes, bytes resident)`` of every parameter of the diffusion model."""
    for name, module in model.named_modules():
        if not name.startswith("diffusion_model"):
            continue
        share = _paged_share(module)
        for local, parameter in module.named_parameters(recurse=False):
            size = parameter.numel() * parameter.element_size()
            on_device = parameter.device.type == device.type and parameter.device.index in (None, device.index)
            if on_device or share == 1.0:
                resident: int | None = size
            elif share is None:
                resident = 0 if not hasattr(module, "_v") else None
            else:
                resident = int(size * share)
            yield f"{name}.{local}", size, resident


def _paged_share(module: Any) -> float | None:
    """Share of a module's pages that lie on the device, under ComfyUI's dynamic loader; ``None`` elsewhere."""
    allocation = getattr(module, "_v", None)
    if allocation is None:
        return None
    vbar, address, size = allocation
    if not hasattr(vbar, "get_residency") or not size:
        return None
    pages = list(vbar.get_residency())
    first = (address - vbar.base_addr) // VBAR_PAGE_BYTES
    last = (address - vbar.base_addr + size - 1) // VBAR_PAGE_BYTES
    mine = pages[first : last + 1]
    return sum(page & 1 for page in mine) / len(mine) if mine else None
