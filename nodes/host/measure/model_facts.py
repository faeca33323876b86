"""What a sampling call can say about itself and its model: mode, patches, streamed weights, quantised layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from ...core.measure.runs import RunFacts
from ..bypass.hooks import bypass_stack
from ..comfyui.private import (
    casts_weights,
    has_lazy_patches,
    is_dynamic,
    is_partly_loaded,
    is_wrapped_by_compile,
    page_of,
    page_signature,
    wrappers,
)

COMPILE_KEY = "torch.compile"
"""Under this key ComfyUI's own torch.compile node wraps the model."""


def loading_mode(patcher: Any) -> str:
    """How ComfyUI has this model on the device."""
    if patcher.load_device.type == "cpu":
        return "CPU"
    if is_dynamic(patcher):
        return "dynamic VRAM"
    return "partly loaded" if is_partly_loaded(patcher) else "fully loaded"


def is_compiled(patcher: Any) -> bool:
    """Whether torch.compile wraps the model."""
    own = wrappers(patcher, WrappersMP.APPLY_MODEL)
    options = patcher.model_options.get("transformer_options", {}).get("wrappers", {}).get(WrappersMP.APPLY_MODEL, {})
    return COMPILE_KEY in own or COMPILE_KEY in options or is_wrapped_by_compile(patcher.model)


def read_facts(patcher: Any, guider: Any, sampler: Any, noise: torch.Tensor, callback: Any) -> RunFacts:
    """Everything that is known before the first evaluation, while patches and injections are in place."""
    modules = list(patcher.model.modules())
    quantised = [module for module in modules if _is_quantised(module)]
    return RunFacts(
        mode=loading_mode(patcher),
        sampler=_sampler_name(sampler),
        cfg=_cfg(guider),
        shape=() if getattr(noise, "is_nested", False) else tuple(noise.shape),
        patches=len(patcher.patches),
        bypass_layers=bypassed_layers(patcher, modules),
        quantised_layers=len(quantised),
        slowed_quantised_layers=sum(has_lazy_patches(module) for module in quantised),
        compiled=is_compiled(patcher),
        preview=_preview() if callback is not None else "",
    )


def bypassed_layers(patcher: Any, modules: list[torch.nn.Module]) -> int:
    """Layers with a LoRA beside the weight: ours, and those whose ``forward`` ComfyUI's own bypass has replaced.

    When it is done, that bypass puts the layer's own bound method back, as an attribute of the layer.
    """
    own = bypass_stack(patcher)
    replaced = sum(
        hasattr(module, "weight") and getattr(vars(module).get("forward", None), "__self__", module) is not module
        for module in modules
    )
    return replaced + (len(own.hooks) if own is not None else 0)


def streamed_reader(patcher: Any) -> Callable[[], int] | None:
    """A function that tells, after an evaluation, how many bytes of weights it had to copy to the device.

    ``None`` where all weights stay where they are. A weight of dynamic VRAM that found no room has no signature; a
    weight of a partly loaded model lies in main memory.
    """
    if patcher.load_device.type == "cpu":
        return None
    if is_dynamic(patcher):
        paged = [(module, _geometry_bytes(module)) for module in patcher.model.modules() if page_of(module) is not None]
        return lambda: sum(size for module, size in paged if page_signature(module) is None)
    away = 0
    for module in patcher.model.modules():
        if casts_weights(module):
            for parameter in module.parameters(recurse=False):
                if parameter.device != patcher.load_device:
                    away += parameter.numel() * parameter.element_size()
    return lambda: away


def _geometry_bytes(module: torch.nn.Module) -> int:
    weights = [getattr(module, name, None) for name in ("weight", "bias")]
    try:
        import comfy.memory_management

        return int(comfy.memory_management.vram_aligned_size(weights))
    except (ImportError, AttributeError, TypeError):
        return sum(weight.numel() * weight.element_size() for weight in weights if weight is not None)


def _is_quantised(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and type(weight).__name__ == "QuantizedTensor"


def _sampler_name(sampler: Any) -> str:
    function = getattr(sampler, "sampler_function", None)
    name = getattr(function, "__name__", "") or type(sampler).__name__
    return str(name).removeprefix("sample_")


def _cfg(guider: Any) -> float | None:
    cfg = getattr(guider, "cfg", None)
    return float(cfg) if isinstance(cfg, (int, float)) else None


def _preview() -> str:
    from comfy.cli_args import args

    method = str(getattr(getattr(args, "preview_method", None), "value", ""))
    return "" if method in ("none", "") else method
