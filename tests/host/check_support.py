"""What the tests of Check LoRA share: files made up in every spelling and with every fault, and one check of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nano_models import kohya_lora, native_lora, write

NANO = {"hidden": 128, "double": 2, "single": 3, "context": 192}
State = dict[str, torch.Tensor]


def pair(prefix: str, rows: int, columns: int, rank: int = 1) -> State:
    """One LoRA layer with PEFT's suffixes."""
    return {
        f"{prefix}.lora_A.weight": torch.full((rank, columns), 0.01),
        f"{prefix}.lora_B.weight": torch.full((rows, rank), 0.01),
    }


def _with(state: State, change: Callable[[State], State]) -> State:
    return change(dict(state))


def _text_encoder(state: State) -> State:
    return state | pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 8, 8)


def _dead(state: State) -> State:
    state["diffusion_model.double_blocks.1.img_mlp.0.lora_B.weight"] = torch.zeros(768, 4)
    return state


def _partial(state: State) -> State:
    del state["diffusion_model.single_blocks.1.linear1.lora_B.weight"]
    return state


def _half_converted(state: State) -> State:
    return {key.replace("_attn.qkv", "_attn_qkv").replace("_mlp.0", "_mlp_0"): value for key, value in state.items()}


def _reshaped(state: State) -> State:
    """As many elements as the weight, in another shape: ComfyUI's reshape takes it."""
    prefix = "diffusion_model.double_blocks.0.img_attn.proj"
    return {key: value for key, value in state.items() if not key.startswith(prefix)} | pair(prefix, 256, 64)


def _wrong_kinds(state: State) -> State:
    base = "diffusion_model.single_blocks"
    return state | {
        f"{base}.0.linear1.lokr_w1": torch.ones(3, 4), f"{base}.0.linear1.lokr_w2": torch.ones(5, 6),
        f"{base}.1.linear2.oft_blocks": torch.full((3, 4, 4), 0.1),
        f"{base}.2.linear2.diff": torch.ones(5, 5),
        "diffusion_model.img_in.hada_w1_a": torch.ones(64, 2), "diffusion_model.img_in.hada_w1_b": torch.ones(2, 32),
        "diffusion_model.img_in.hada_w2_a": torch.ones(64, 2), "diffusion_model.img_in.hada_w2_b": torch.ones(2, 32),
        "diffusion_model.txt_in.diff_b": torch.ones(128),
        "diffusion_model.time_in.in_layer.set_weight": torch.ones(128, 256),
    }  # fmt: skip


SELF_MADE: dict[str, Callable[[], State]] = {
    "native": lambda: native_lora(**NANO),
    "kohya": lambda: kohya_lora(**NANO),
    "bare": lambda: {k.removeprefix("diffusion_model."): v for k, v in native_lora(**NANO).items()},
    "peft": lambda: {k.replace("diffusion_model.", "base_model.model."): v for k, v in native_lora(**NANO).items()},
    "text encoder": lambda: _with(native_lora(**NANO), _text_encoder),
    "dead": lambda: _with(native_lora(**NANO), _dead),
    "partial": lambda: _with(native_lora(**NANO), _partial),
    "half converted": lambda: _with(native_lora(**NANO), _half_converted),
    "reshaped": lambda: _with(native_lora(**NANO), _reshaped),
    "wrong kinds": lambda: _with({}, _wrong_kinds),
    "wide": lambda: native_lora(hidden=256, double=2, single=3, context=192),
    "deep": lambda: native_lora(hidden=128, double=4, single=6, context=192),
}


def check_state(host: Any, model: Any, tmp_path: Path, state: State, metadata: dict[str, str] | None = None) -> Any:
    return host.check(write(tmp_path / "x.safetensors", state, metadata), "x.safetensors", model, None)
