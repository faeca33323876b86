"""What the tests and the table of faithful application share: the model, the deltas, the files made up from headers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from writer_reference import Deltas, relative_error

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
"""Files that are not part of the project; tests that read them skip where they are absent."""

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def added(patched: Any, factor: float = 1.0) -> Deltas:
    """What a patcher's patches add to the weights, by ComfyUI's own arithmetic, divided by ``factor``."""
    import comfy.lora

    result: Deltas = {}
    for key, patches in patched.patches.items():
        weight = patched.model_state_dict(key)[key].float()
        result[key] = (comfy.lora.calculate_weight(patches, weight.clone(), key) - weight).double() / factor
    return result


def stock(model: Any, path: str, strength: float = 1.0) -> Any:
    """The model patched by ComfyUI's own loader."""
    import comfy.sd
    import comfy.utils

    return comfy.sd.load_lora_for_models(model, None, comfy.utils.load_torch_file(path), strength, 0.0)[0]


def probed_error(found: Mapping[str, torch.Tensor], truth_path: Path, model: Any) -> float:
    """Error against a truth that holds ``delta @ v`` for a fixed random ``v`` of each width."""
    truth = {key: tensor for key, tensor in load_file(str(truth_path)).items() if not key.endswith("#norm")}
    truth = {key if "diffusion_model." in key else f"diffusion_model.{key}": value for key, value in truth.items()}
    state = model.model_state_dict()
    products = {}
    for key in truth:
        width = state[key].shape[-1]
        vector = torch.from_numpy(np.random.default_rng(width).standard_normal(width))
        delta = found.get(key, torch.zeros(state[key].shape, dtype=torch.float64))
        products[key] = delta @ vector if delta.dim() > 1 else delta * vector
    missing = {key: delta for key, delta in found.items() if key not in truth and bool(delta.any())}
    return relative_error(products | missing, truth)


def file_from_header(header: Path, path: Path, seed: int = 11) -> dict[str, torch.Tensor]:
    """A file with the keys, shapes, dtypes and metadata of a real one and random values; saved, and returned."""
    data = json.loads(header.read_text())
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, (dtype, shape) in data["tensors"].items():
        tensors[key] = _random(key, shape, generator).to(DTYPES[dtype])
    save_file(tensors, str(path), data.get("__metadata__") or {})
    return tensors


def _random(key: str, shape: list[int], generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=generator)
    if key.endswith(".alpha"):
        return torch.full(shape, 2.0)
    if key.endswith((".dora_scale", ".magnitude")):
        return noise.abs() * 0.2 + 0.8
    return torch.zeros(shape) if key.endswith(".on_input") else noise * 0.1
