"""Tiny FLUX.2-architecture models and LoRA files with random, seeded weights, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def flux2_shapes(hidden: int = 128, double: int = 2, single: int = 3, context: int = 64) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a FLUX.2 model as Black Forest Labs store it; ComfyUI recognises it by these."""
    h = hidden
    shapes: dict[str, tuple[int, ...]] = {
        "img_in.weight": (h, 128),
        "txt_in.weight": (h, context),
        "time_in.in_layer.weight": (h, 256),
        "time_in.out_layer.weight": (h, h),
        "final_layer.linear.weight": (128, h),
        "final_layer.adaLN_modulation.1.weight": (2 * h, h),
        "single_stream_modulation.lin.weight": (3 * h, h),
    }
    for stream in ("img", "txt"):
        shapes[f"double_stream_modulation_{stream}.lin.weight"] = (6 * h, h)
        for index in range(double):
            block = f"double_blocks.{index}.{stream}_"
            shapes |= {
                f"{block}attn.qkv.weight": (3 * h, h),
                f"{block}attn.proj.weight": (h, h),
                f"{block}mlp.0.weight": (6 * h, h),
                f"{block}mlp.2.weight": (h, 3 * h),
                f"{block}attn.norm.query_norm.scale": (128,),
                f"{block}attn.norm.key_norm.scale": (128,),
            }
    for index in range(single):
        block = f"single_blocks.{index}."
        shapes |= {
            f"{block}linear1.weight": (9 * h, h),
            f"{block}linear2.weight": (h, 4 * h),
            f"{block}norm.query_norm.scale": (128,),
            f"{block}norm.key_norm.scale": (128,),
        }
    return shapes


def flux2_state_dict(seed: int = 0, **sizes: int) -> dict[str, torch.Tensor]:
    """Random weights of unit gain for :func:`flux2_shapes`."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) * shape[1] ** -0.5
        for key, shape in flux2_shapes(**sizes).items()
    }


def lora_layers(**sizes: int) -> dict[str, tuple[int, ...]]:
    """The linears inside blocks, by their native path without ``.weight``."""
    return {
        key.removesuffix(".weight"): shape
        for key, shape in flux2_shapes(**sizes).items()
        if len(shape) == 2 and "blocks." in key
    }


def native_lora(rank: int = 4, seed: int = 1, size: float = 0.1, **sizes: int) -> dict[str, torch.Tensor]:
    """A LoRA on every block linear with ``diffusion_model.<layer>.lora_A.weight`` names and no alpha."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for layer, (rows, columns) in lora_layers(**sizes).items():
        prefix = f"diffusion_model.{layer}"
        state[f"{prefix}.lora_A.weight"] = torch.randn(rank, columns, generator=generator) * columns**-0.5
        state[f"{prefix}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) * size
    return state


def kohya_lora(rank: int = 4, alpha: float = 2.0, **options: float | int) -> dict[str, torch.Tensor]:
    """The same LoRA with kohya's names and an alpha tensor."""
    state: dict[str, torch.Tensor] = {}
    for key, tensor in native_lora(rank=rank, **options).items():  # type: ignore[arg-type]
        layer, kind = key.removeprefix("diffusion_model.").rsplit(".lora_", 1)
        prefix = f"lora_unet_{layer.replace('.', '_')}"
        state[f"{prefix}.lora_{'down' if kind[0] == 'A' else 'up'}.weight"] = tensor
        state[f"{prefix}.alpha"] = torch.tensor(alpha)
    return state


def with_guidance(model: Any, negative: list[list[Any]], cfg: float) -> Any:
    """A clone that does at CFG 1 what ``model`` does at ``cfg``: an exactly distilled student, by evaluating twice."""
    empty = negative[0][0]
    empty = torch.nn.functional.pad(empty, (0, 0, 512 - empty.shape[1], 0))  # as FLUX.2 pads

    def guided(apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
        def run(**change: Any) -> torch.Tensor:
            c = {**args["c"], "transformer_options": dict(args["c"]["transformer_options"]), **change}
            return apply_model(args["input"], args["timestep"], **c)

        positive, away = run(), run(c_crossattn=empty)
        return away + cfg * (positive - away)

    clone = model.clone()
    clone.set_model_unet_function_wrapper(guided)
    return clone


def write(path: Path, state: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> str:
    """Save ``state`` and return the path as text."""
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, str(path), metadata)
    return str(path)
