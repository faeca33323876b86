"""What the tests and the table of faithful application share: the model, the deltas, the files made up from headers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nano_models import lora_layers
from safetensors.torch import load_file, save_file
from writer_reference import Deltas, relative_error

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
"""Files that are not part of the project; tests that read them skip where they are absent."""

FORMULA_WRITERS = ("aitoolkit", "onetrainer", "peftraw")
"""Whose files are held against plain formulas, under the names of a real file's header."""

SIZES = {"hidden": 128, "double": 2, "single": 3}
EXACT = 1e-5
"""Relative error of what is meant to be the same product."""

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
    if key.endswith((".dora_scale", ".magnitude", ".boft_s")):
        return noise.abs() * 0.2 + 0.8
    return torch.zeros(shape) if key.endswith(".on_input") else noise * 0.1


def native_tensors(roles: Callable[[int, int], dict[str, torch.Tensor]], **sizes: int) -> dict[str, torch.Tensor]:
    """Tensors for every linear inside a block, named ``<native layer>|<suffix>``."""
    torch.manual_seed(5)
    return {
        f"{layer}|{suffix}": tensor
        for layer, (rows, columns) in lora_layers(**sizes).items()
        for suffix, tensor in roles(rows, columns).items()
    }


def lora_roles(rows: int, columns: int) -> dict[str, torch.Tensor]:
    """A LoRA of rank 4."""
    return {"lora_A.weight": torch.randn(4, columns) * 0.1, "lora_B.weight": torch.randn(rows, 4) * 0.1}


SPELLINGS: dict[str, Callable[[str], str]] = {
    "native": lambda key: "diffusion_model." + key.replace("|", "."),
    "bare native (OneTrainer original)": lambda key: key.replace("|", "."),
    "transformer. and native": lambda key: "transformer." + key.replace("|", "."),
    "fal, BFL with PEFT": lambda key: "base_model.model." + key.replace("|", "."),
    "raw PEFT inside transformer.": lambda key: "transformer.base_model.model." + key.replace("|", "."),
    "checkpoint": lambda key: "model.diffusion_model." + key.replace("|", "."),
    "half converted (musubi-tuner)": lambda key: (
        "diffusion_model." + key.replace("_attn.", "_attn_").replace("_mlp.", "_mlp_").replace("|", ".")
    ),
    "kohya": lambda key: "lora_unet_" + key.split("|")[0].replace(".", "_") + "." + key.split("|")[1],
    "LyCORIS native": lambda key: "lycoris_" + key.split("|")[0].replace(".", "_") + "." + key.split("|")[1],
    "OneTrainer legacy native": lambda key: (
        "lora_transformer_" + key.split("|")[0].replace(".", "_") + "." + key.split("|")[1]
    ),
    "a named PEFT adapter": lambda key: (
        "base_model.model." + key.replace("|", ".").replace(".weight", ".my_style.weight")
    ),
    "kohya suffixes": lambda key: (
        "diffusion_model." + key.replace("|lora_A", ".lora_down").replace("|lora_B", ".lora_up")
    ),
}
"""Who names layers so, and how: from ``<native layer>|<suffix>`` to the key."""


def spelled_tensors(spelling: str, **sizes: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A LoRA file in one of :data:`SPELLINGS`, and the same under the model's own names."""
    tensors = native_tensors(lora_roles, **sizes)
    plain = {key.replace("|", "."): tensor for key, tensor in tensors.items()}
    return {SPELLINGS[spelling](key): tensor for key, tensor in tensors.items()}, plain


def xlabs_tensors(**sizes: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A file of XLabs' attention processors, and the same under the model's own names."""
    names = {
        "double_blocks.0.processor.qkv_lora1": "double_blocks.0.img_attn.qkv",
        "double_blocks.1.processor.qkv_lora2": "double_blocks.1.txt_attn.qkv",
        "double_blocks.0.processor.proj_lora1": "double_blocks.0.img_attn.proj",
        "double_blocks.0.processor.proj_lora2": "double_blocks.0.txt_attn.proj",
        "single_blocks.2.processor.proj_lora": "single_blocks.2.linear2",
    }
    tensors, plain = {}, {}
    torch.manual_seed(6)
    for name, layer in names.items():
        for role, tensor in lora_roles(*lora_layers(**sizes)[layer]).items():
            tensors[f"{name}.{'down' if 'A' in role else 'up'}.weight"] = tensor
            plain[f"{layer}.{role}"] = tensor
    return tensors, plain
