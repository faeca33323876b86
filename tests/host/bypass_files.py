"""LoRA files of every additive format with random values, for the tests of what runs beside the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from nano_models import flux2_shapes, lora_layers, write

State = dict[str, torch.Tensor]


def _noise(generator: torch.Generator, *shape: int, size: float = 0.1) -> torch.Tensor:
    return torch.randn(*shape, generator=generator) * size


def _lora(name: str, out: int, columns: int, g: torch.Generator) -> State:
    down, up = _noise(g, 4, columns), _noise(g, out, 4)
    return {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(2.0)}


def _odd_rank(name: str, out: int, columns: int, g: torch.Generator) -> State:
    return {f"{name}.lora_A.weight": _noise(g, 3, columns), f"{name}.lora_B.weight": _noise(g, out, 3)}


def _whole_rank(name: str, out: int, columns: int, g: torch.Generator) -> State:
    return {f"{name}.lora_A.weight": _noise(g, 16, columns), f"{name}.lora_B.weight": _noise(g, out, 16)}


def _loha(rank: int) -> Callable[..., State]:
    def make(name: str, out: int, columns: int, g: torch.Generator) -> State:
        state: State = {f"{name}.alpha": torch.tensor(2.0)}
        for number in (1, 2):
            state[f"{name}.hada_w{number}_a"] = _noise(g, out, rank, size=0.4)
            state[f"{name}.hada_w{number}_b"] = _noise(g, rank, columns, size=0.4)
        return state

    return make


def _lokr(name: str, out: int, columns: int, g: torch.Generator) -> State:
    first = _noise(g, 8, 4, size=0.3)
    return {
        f"{name}.lokr_w1": first, f"{name}.lokr_w2_a": _noise(g, out // 8, 4), f"{name}.alpha": torch.tensor(2.0),
        f"{name}.lokr_w2_b": _noise(g, 4, columns // 4),
    }  # fmt: skip


def _lokr_whole(name: str, out: int, columns: int, g: torch.Generator) -> State:
    return {f"{name}.lokr_w1": _noise(g, 4, 4, size=0.3), f"{name}.lokr_w2": _noise(g, out // 4, columns // 4)}


def _glora(name: str, out: int, columns: int, g: torch.Generator) -> State:
    shapes = {"a1": (columns, 4), "a2": (4, columns), "b1": (out, 4), "b2": (4, columns)}
    return {f"{name}.{role}.weight": _noise(g, *shape, size=0.05) for role, shape in shapes.items()}


def _glora_early(name: str, out: int, columns: int, g: torch.Generator) -> State:
    shapes = {"a1": (4, columns), "a2": (columns, 4), "b1": (4, columns), "b2": (out, 4)}
    return {f"{name}.{role}.weight": _noise(g, *shape, size=0.05) for role, shape in shapes.items()}


def _diff(name: str, out: int, columns: int, g: torch.Generator) -> State:
    return {f"{name}.diff": _noise(g, out, columns, size=0.02)}


_MAKERS: dict[str, Callable[..., State]] = {
    "lora": _lora, "odd_rank": _odd_rank, "whole_rank": _whole_rank, "loha_small": _loha(2), "loha_large": _loha(12),
    "lokr": _lokr, "lokr_whole": _lokr_whole, "glora": _glora, "glora_early": _glora_early, "diff": _diff,
}  # fmt: skip
FORMATS = (*_MAKERS, "diffusers_split", "swapped_halves")


def adapter_file(name: str, folder: Path, sizes: dict[str, int]) -> str:
    """A file of the format ``name`` for the tiny FLUX.2 model of ``sizes``."""
    generator = torch.Generator().manual_seed(3)
    state: State = {}
    if name == "diffusers_split":  # q, k and v apart, for the model's one fused weight
        for part in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj"):
            state |= _lora(f"transformer.transformer_blocks.0.attn.{part}", 128, 128, generator)
    elif name == "swapped_halves":
        state |= _lora("transformer.norm_out.linear", 256, 128, generator)
        state |= _diff("transformer.proj_out", 128, 128, generator)
    else:
        for layer, (out, columns) in lora_layers(**sizes).items():
            state |= _MAKERS[name](f"diffusion_model.{layer}", out, columns, generator)
    assert flux2_shapes(**sizes)
    return write(folder / f"{name}.safetensors", state)
