"""Where the weights of the loaded models lie right now: on the device, or streamed to it layer by layer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...core.model.blocks import MODEL_PREFIX, BlockLayout
from ..comfyui.events import prompt_server
from ..comfyui.model_keys import is_storage
from ..comfyui.private import is_dynamic, is_executing, loaded_entries, page_of, resident_share

NOT_TOLD = "this version of ComfyUI's dynamic loading does not say what is resident"


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


_SEEN: list[LoadedModel] = []
"""What was found at the last look."""


def loaded_models() -> list[LoadedModel]:
    """The diffusion models that are loaded, the most recently used first. Only reads attributes; moves nothing.

    While a workflow runs, its thread loads, patches and takes apart the very modules that would be walked here, and
    asks the dynamic loader for pages: then the answer is that of the last look.
    """
    if is_executing(prompt_server()):
        return list(_SEEN)
    found: list[LoadedModel] = []
    for patcher, device in loaded_entries():
        if not hasattr(patcher.model, "diffusion_model"):
            continue
        try:
            found.append(_describe(patcher, device))
        except (RuntimeError, KeyError) as error:  # a run began meanwhile and may take the model apart
            logging.debug("LoRA Patchbay: a model changed while it was looked at: %s", error)
    _SEEN[:] = found
    return found


def _describe(patcher: Any, device: Any) -> LoadedModel:
    state = {key: None for key in patcher.model.state_dict()}
    layout = BlockLayout(state)
    sums: dict[tuple[str, str], list[int | None]] = {}
    dynamic = is_dynamic(patcher)
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
        share = resident_share(module)
        for local, parameter in module.named_parameters(recurse=False):
            size = parameter.numel() * parameter.element_size()
            on_device = parameter.device.type == device.type and parameter.device.index in (None, device.index)
            if on_device or share == 1.0:
                resident: int | None = size
            elif share is None:
                resident = 0 if page_of(module) is None else None
            else:
                resident = int(size * share)
            yield f"{name}.{local}", size, resident
