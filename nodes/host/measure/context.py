"""Under what circumstances a figure was measured: versions, device, flags, and which model and LoRAs they were."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from comfy.weight_adapter import WeightAdapterBase

from ..apply.plan import owned_patches
from ..bypass.hooks import bypass_stack
from ..comfyui.private import source_of
from ..comfyui.version import comfyui_version
from .memory_nvml import driver_version
from .model_facts import loading_mode

_SAMPLES, _SAMPLE_BYTES = 64, 4096


def machine_context(device: torch.device) -> dict[str, Any]:
    """Versions, device and the flags of ComfyUI that change speed or memory."""
    from comfy.cli_args import args

    context: dict[str, Any] = {
        "comfyui": comfyui_version(),
        "torch": torch.__version__,
        "comfy_aimdo": _version("comfy-aimdo"),
        "comfy_kitchen": _version("comfy-kitchen"),
        "system": f"{platform.system()} {platform.machine()}",
        "device": _device_name(device),
        "device_memory": torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0,
        "driver": driver_version() if device.type == "cuda" else "",
        "allocator": torch.cuda.get_allocator_backend() if device.type == "cuda" else "",
        "attention": _attention(),
    }
    flags = ("fast", "reserve_vram", "vram_headroom", "highvram", "lowvram", "novram", "gpu_only", "cpu")
    set_flags = {name: str(getattr(args, name)) for name in flags if getattr(args, name, None)}
    return {name: value for name, value in (context | {"flags": set_flags}).items() if value}


def arithmetic() -> tuple[str, ...]:
    """What decides, beside the model, which numbers come out: ComfyUI's version, its attention and its fast modes."""
    from comfy.cli_args import args

    return comfyui_version(), _version("comfy-kitchen"), _attention(), str(sorted(map(str, args.fast or ())))


def model_context(model: Any) -> dict[str, Any]:
    """Which model, how it is stored and loaded, and which LoRAs are on it."""
    path = _model_path(model)
    stack = bypass_stack(model)
    terms = stack.terms if stack is not None else ()
    beside = {f"beside {term.model_key}": [(term.strength, term.value, 1.0, None)] for term in terms}
    patches = {**model.patches, **beside}
    context: dict[str, Any] = {
        "model": os.path.basename(path) if path else type(model.model).__name__,
        "model_hash": sampled_hash(Path(path)) if path else "",
        "dtype": str(model.model_dtype()).removeprefix("torch."),
        "mode": loading_mode(model),
        "loras": list(dict.fromkeys(item.owner for item in (*owned_patches(model), *terms))),
        "patches": len(model.patches),
        "bypassed": len(terms),
        "patches_hash": patches_hash(patches) if patches else "",
    }
    return {name: value for name, value in context.items() if value}


def sampled_hash(path: Path) -> str:
    """SHA-256 of a file's size and of 64 pieces of 4 KiB spread over it, 16 digits: quick, also for 18 GB."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for index in range(_SAMPLES):
            file.seek(max(0, (size - _SAMPLE_BYTES) * index // (_SAMPLES - 1)))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def patches_hash(patches: dict[str, list[tuple[Any, ...]]]) -> str:
    """A hash of what is patched with what and how strongly, 16 digits; tensors by shape and their first values."""
    digest = hashlib.sha256()
    for key in sorted(patches):
        for strength, value, strength_model, offset, *_ in patches[key]:
            digest.update(f"{key} {strength!r} {strength_model!r} {offset!r}".encode())
            for tensor in _tensors(value.weights if isinstance(value, WeightAdapterBase) else value):
                head = tensor.detach().flatten()[:64].to("cpu", torch.float32).numpy().tobytes()
                digest.update(str(tuple(tensor.shape)).encode() + head)
    return digest.hexdigest()[:16]


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _model_path(model: Any) -> str:
    """The file that the model was loaded from, as far as its loader left word of it."""
    first = source_of(model)
    return first if isinstance(first, str) and os.path.isfile(first) else ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads"
    return str(comfy.model_management.get_torch_device_name(device))


def _attention() -> str:
    from comfy.ldm.modules import attention

    return getattr(attention.optimized_attention, "__name__", "")
