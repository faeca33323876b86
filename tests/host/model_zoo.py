"""Full-size models of many architectures, built by ComfyUI's own model classes on the meta device: no weight in memory.

The numbers are those of the released models; what else a class wants is what ``comfy.model_detection`` fills in.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

_UNET = {
    "use_checkpoint": False, "image_size": 32, "out_channels": 4, "use_spatial_transformer": True, "legacy": False,
    "in_channels": 4, "model_channels": 320, "use_temporal_attention": False, "use_temporal_resblock": False,
}  # fmt: skip
_SD = {
    **_UNET, "adm_in_channels": None, "num_res_blocks": [2, 2, 2, 2], "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1] * 9 + [0] * 3,
}  # fmt: skip
_FLUX = {
    "image_model": "flux", "axes_dim": [16, 56, 56], "num_heads": 24, "mlp_ratio": 4.0, "theta": 10000,
    "out_channels": 16, "qkv_bias": True, "txt_ids_dims": [], "in_channels": 16, "hidden_size": 3072,
    "context_in_dim": 4096, "patch_size": 2, "vec_in_dim": 768, "depth": 19, "depth_single_blocks": 38,
    "guidance_embed": True, "yak_mlp": False, "txt_norm": False,
}  # fmt: skip
_FLUX2 = {
    "image_model": "flux2", "axes_dim": [32, 32, 32, 32], "mlp_ratio": 3.0, "theta": 2000, "out_channels": 128,
    "global_modulation": True, "mlp_silu_act": True, "qkv_bias": False, "ops_bias": False,
    "default_ref_method": "index", "ref_index_scale": 10.0, "txt_ids_dims": [3], "in_channels": 128, "patch_size": 1,
    "vec_in_dim": None, "guidance_embed": False, "yak_mlp": False, "txt_norm": False,
}  # fmt: skip
_WAN = {
    "image_model": "wan2.1", "out_dim": 16, "patch_size": (1, 2, 2), "freq_dim": 256, "window_size": (-1, -1),
    "qk_norm": True, "cross_attn_norm": True, "eps": 1e-6, "in_dim": 16, "model_type": "t2v",
}  # fmt: skip
_LUMINA = {"image_model": "lumina2", "patch_size": 2, "in_channels": 16, "qk_norm": True}
_COSMOS = {
    "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16, "out_channels": 16, "patch_spatial": 2,
    "patch_temporal": 1, "model_channels": 2048, "concat_padding_mask": True, "crossattn_emb_channels": 1024,
    "pos_emb_cls": "rope3d", "pos_emb_learnable": True, "pos_emb_interpolation": "crop", "min_fps": 1, "max_fps": 30,
    "use_adaln_lora": True, "adaln_lora_dim": 256, "num_blocks": 28, "num_heads": 16,
    "extra_per_block_abs_pos_emb": False, "rope_h_extrapolation_ratio": 4.0, "rope_w_extrapolation_ratio": 4.0,
    "rope_t_extrapolation_ratio": 1.0, "extra_h_extrapolation_ratio": 1.0, "extra_w_extrapolation_ratio": 1.0,
    "extra_t_extrapolation_ratio": 1.0, "rope_enable_fps_modulation": False,
}  # fmt: skip
_HUNYUAN = {
    "image_model": "hunyuan_video", "in_channels": 16, "patch_size": [1, 2, 2], "out_channels": 16, "vec_in_dim": 768,
    "axes_dim": [16, 56, 56], "meanflow": False, "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0,
    "num_heads": 24, "depth": 20, "depth_single_blocks": 40, "theta": 256, "qkv_bias": True, "byt5": False,
    "guidance_embed": True, "use_cond_type_embedding": False, "vision_in_dim": None, "meanflow_sum": False,
}  # fmt: skip
_SD3 = {
    "in_channels": 16, "patch_size": 2, "out_channels": 16, "input_size": None, "adm_in_channels": 2048,
    "pos_embed_scaling_factor": None,
}  # fmt: skip


def _sd3(depth: int, size: int, **more: Any) -> dict[str, Any]:
    context = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 64 * depth}}
    return {
        **_SD3, "depth": depth, "context_embedder_config": context, "num_patches": size * size,
        "pos_embed_max_size": size, "x_block_self_attn_layers": [], **more,
    }  # fmt: skip


CONFIGS: dict[str, dict[str, Any]] = {
    "SD 1.5": {**_SD, "use_linear_in_transformer": False, "context_dim": 768, "num_heads": 8},
    "SD 2": {**_SD, "use_linear_in_transformer": True, "context_dim": 1024, "num_head_channels": 64},
    "SDXL": {
        **_UNET, "num_classes": "sequential", "adm_in_channels": 2816, "num_res_blocks": [2, 2, 2],
        "transformer_depth": [0, 0, 2, 2, 10, 10], "channel_mult": [1, 2, 4], "transformer_depth_middle": 10,
        "use_linear_in_transformer": True, "context_dim": 2048, "num_head_channels": 64,
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    },
    "SDXL refiner": {
        **_UNET, "num_classes": "sequential", "adm_in_channels": 2560, "model_channels": 384,
        "num_res_blocks": [2, 2, 2, 2], "transformer_depth": [0, 0, 4, 4, 4, 4, 0, 0], "channel_mult": [1, 2, 4, 4],
        "transformer_depth_middle": 4, "use_linear_in_transformer": True, "context_dim": 1280,
        "num_head_channels": 64, "transformer_depth_output": [0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0],
    },
    "SD3 / SD3.5 medium": _sd3(24, 384, qk_norm="rms", x_block_self_attn_layers=list(range(13))),
    "SD3.5 large": _sd3(38, 192, qk_norm="rms"),
    "FLUX.1": _FLUX,
    "FLUX.1 schnell": {**_FLUX, "guidance_embed": False},
    "FLUX.2 dev": {
        **_FLUX2, "hidden_size": 6144, "num_heads": 48, "context_in_dim": 15360, "depth": 8,
        "depth_single_blocks": 48, "guidance_embed": True,
    },
    "FLUX.2 Klein 4B": {
        **_FLUX2, "hidden_size": 3072, "num_heads": 24, "context_in_dim": 7680, "depth": 5, "depth_single_blocks": 20,
    },
    "FLUX.2 Klein 9B": {
        **_FLUX2, "hidden_size": 4096, "num_heads": 32, "context_in_dim": 12288, "depth": 8,
        "depth_single_blocks": 24,
    },
    "Chroma": {
        "image_model": "chroma", "axes_dim": [16, 56, 56], "num_heads": 24, "mlp_ratio": 4.0, "theta": 10000,
        "out_channels": 64, "qkv_bias": True, "txt_ids_dims": [], "in_channels": 64, "hidden_size": 3072,
        "context_in_dim": 4096, "patch_size": 2, "vec_in_dim": None, "depth": 19, "depth_single_blocks": 38,
        "in_dim": 64, "out_dim": 3072, "hidden_dim": 5120, "n_layers": 5,
    },
    "Z-Image": {
        **_LUMINA, "dim": 3840, "cap_feat_dim": 2560, "n_layers": 30, "n_heads": 30, "n_kv_heads": 30,
        "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "rope_theta": 256.0,
        "ffn_dim_multiplier": 8.0 / 3.0, "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32,
    },
    "Lumina 2": {
        **_LUMINA, "dim": 2304, "cap_feat_dim": 2304, "n_layers": 26, "n_heads": 24, "n_kv_heads": 8,
        "axes_dims": [32, 32, 32], "axes_lens": [300, 512, 512], "rope_theta": 10000.0, "ffn_dim_multiplier": 4.0,
    },
    "Qwen-Image": {"image_model": "qwen_image", "in_channels": 64, "num_layers": 60},
    "Wan 2.x 14B": {**_WAN, "dim": 5120, "num_heads": 40, "ffn_dim": 13824, "num_layers": 40},
    "Wan 2.x 14B, image to video": {
        **_WAN, "dim": 5120, "num_heads": 40, "ffn_dim": 13824, "num_layers": 40, "model_type": "i2v", "in_dim": 36,
    },
    "Wan 2.1 1.3B": {**_WAN, "dim": 1536, "num_heads": 12, "ffn_dim": 8960, "num_layers": 30},
    "Wan 2.2 5B": {
        **_WAN, "dim": 3072, "num_heads": 24, "ffn_dim": 14336, "num_layers": 30, "in_dim": 48, "out_dim": 48,
    },
    "HunyuanVideo": _HUNYUAN,
    "LTX-Video 2B": {"image_model": "ltxv", "num_layers": 28, "attention_head_dim": 64, "cross_attention_dim": 2048},
    "LTX-Video 13B": {"image_model": "ltxv", "num_layers": 48, "attention_head_dim": 128, "cross_attention_dim": 4096},
    "LTX-2": {"image_model": "ltxav", "num_layers": 48, "attention_head_dim": 128, "cross_attention_dim": 4096},
    "Anima": {"image_model": "anima", **_COSMOS},
    "Cosmos Predict 2 2B": {"image_model": "cosmos_predict2", **_COSMOS},
    "Krea 2": {
        "image_model": "krea2", "features": 6144, "channels": 16, "patch": 2, "layers": 28, "heads": 48, "kvheads": 12,
        "txtlayers": 12, "txtdim": 2560,
    },
    "AuraFlow": {"max_seq": 9216, "cond_seq_dim": 2048, "n_double_layers": 4, "n_layers": 36},
    "PixArt": {
        "image_model": "pixart_sigma", "num_heads": 16, "patch_size": 2, "hidden_size": 1152, "in_channels": 4,
        "depth": 28, "model_max_length": 300, "micro_condition": False,
    },
}  # fmt: skip
"""Configuration by the name that the table of architectures gives to the model."""


@lru_cache(1)
def zoo_model(name: str) -> Any:
    """The ``comfy.model_base`` object of a model of the zoo, with ``model_config`` as ComfyUI chooses it."""
    import comfy.model_detection
    import torch

    config = comfy.model_detection.model_config_from_unet_config(dict(CONFIGS[name]))
    if config is None:
        pytest.skip(f"this ComfyUI does not know the model: {name}")
    config.set_inference_dtype(torch.bfloat16, None)
    return config.get_model({}, "", device=torch.device("meta"))


def zoo_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Weights of a model of the zoo by key, without ``diffusion_model.``."""
    return {key: tuple(tensor.shape) for key, tensor in zoo_model(name).diffusion_model.state_dict().items()}
