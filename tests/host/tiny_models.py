"""Tiny models of many architectures with random weights: ComfyUI's own classes with small numbers, ready to be run."""

from __future__ import annotations

from typing import Any

import torch
from model_zoo import CONFIGS

_UNET = {"model_channels": 32, "num_heads": 4}
SMALL: dict[str, dict[str, Any]] = {
    "FLUX.1": {
        "hidden_size": 64, "num_heads": 2, "axes_dim": [8, 12, 12], "context_in_dim": 32, "vec_in_dim": 24, "depth": 2,
        "depth_single_blocks": 3,
    },
    "FLUX.2 Klein 4B": {
        "hidden_size": 128, "num_heads": 1, "context_in_dim": 32, "depth": 2, "depth_single_blocks": 3,
    },
    "SD3 / SD3.5 medium": {
        "depth": 2, "x_block_self_attn_layers": [0], "num_patches": 1024, "pos_embed_max_size": 32,
        "adm_in_channels": 24,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 128}},
    },
    "Qwen-Image": {
        "num_layers": 2, "attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": 32,
        "axes_dims_rope": (8, 12, 12),
    },
    "Z-Image": {
        "dim": 256, "cap_feat_dim": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2,
    },
    "Wan 2.1 1.3B": {"dim": 64, "num_heads": 2, "ffn_dim": 96, "num_layers": 2, "text_dim": 32},
    "SD 1.5": {**_UNET, "context_dim": 32},
    "SDXL": {
        "model_channels": 32, "context_dim": 32, "num_head_channels": 16, "adm_in_channels": 2816,
        "transformer_depth": [0, 0, 1, 1, 1, 1], "transformer_depth_middle": 1,
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1],
    },
    "Chroma": {
        "hidden_size": 64, "num_heads": 2, "axes_dim": [8, 12, 12], "context_in_dim": 32, "depth": 2,
        "depth_single_blocks": 2, "out_dim": 64, "hidden_dim": 48, "n_layers": 1,
    },
    "HunyuanVideo": {
        "hidden_size": 64, "num_heads": 2, "axes_dim": [8, 12, 12], "context_in_dim": 32, "vec_in_dim": 24, "depth": 2,
        "depth_single_blocks": 2,
    },
}  # fmt: skip
"""What is smaller than in the released model."""

_POOLED = {"FLUX.1": 24, "SD3 / SD3.5 medium": 24, "SDXL": 1280, "HunyuanVideo": 24}
_VIDEO = ("Wan 2.1 1.3B", "HunyuanVideo")
_CHANNELS = {"FLUX.2 Klein 4B": 128, "SD 1.5": 4, "SDXL": 4}


def tiny_model(name: str, seed: int = 0) -> Any:
    """A ``ModelPatcher`` on the CPU with seeded random weights of unit gain."""
    import comfy.model_detection
    from comfy.model_patcher import ModelPatcher

    config = comfy.model_detection.model_config_from_unet_config(dict(CONFIGS[name]))
    config.unet_config.update(SMALL[name])
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, "", device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.requires_grad_(False)
            size = parameter.shape[1:].numel() ** -0.5 if parameter.dim() > 1 else 0.05
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
            if parameter.dim() == 1:
                parameter.add_(0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("pos_embed"):  # SD3 leaves it unset until a checkpoint fills it
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.5)
    return ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def tiny_latent(name: str) -> dict[str, torch.Tensor]:
    """An empty latent of the model's kind."""
    channels = _CHANNELS.get(name, 16)
    return {"samples": torch.zeros(1, channels, *((1,) if name in _VIDEO else ()), 16, 16)}


def tiny_conditioning(name: str, prompts: int = 1, tokens: int = 6, width: int = 32) -> list[list[Any]]:
    """Random prompts."""
    generator = torch.Generator().manual_seed(5)
    found: list[list[Any]] = []
    for _ in range(prompts):
        options: dict[str, Any] = {}
        if name in _POOLED:
            options["pooled_output"] = torch.randn(1, _POOLED[name], generator=generator)
        found.append([torch.randn(1, tokens, width, generator=generator), options])
    return found
