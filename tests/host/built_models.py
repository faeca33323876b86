"""Every class of diffusion model that ComfyUI has and the zoo has not: what each is made with, and its weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

_WAN = {"blocks": 32}
BUILT: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "ace.ace_step15.AceStepConditionGenerationModel": (
        # One of its constants cannot be made without memory: this one is small and real.
        {
            "device": "cpu", "hidden_size": 64, "num_heads": 1, "num_kv_heads": 1, "head_dim": 64,
            "intermediate_size": 64, "encoder_hidden_size": 64, "encoder_intermediate_size": 64,
            "encoder_num_heads": 1, "fsq_dim": 64,
        },
        {"decoder.layers": 24, "encoder.lyric_encoder.layers": 8, "encoder.timbre_encoder.layers": 4,
         "tokenizer.attention_pooler.layers": 2, "detokenizer.layers": 2},
    ),
    "ace.model.ACEStepTransformer2DModel": ({}, {"transformer_blocks": 28, "lyric_encoder.encoders": 6}),
    "audio.dit.AudioDiffusionTransformer": ({}, {"transformer.layers": 24}),
    "boogu.model.BooguTransformer2DModel": (
        {},
        {"noise_refiner": 2, "ref_image_refiner": 2, "context_refiner": 2, "double_stream_layers": 8,
         "single_stream_layers": 32},
    ),
    "cogvideo.model.CogVideoXTransformer3DModel": ({}, {"blocks": 30}),
    "cosmos.model.GeneralDIT": (
        {
            "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16, "out_channels": 16,
            "patch_spatial": 2, "patch_temporal": 1, "model_channels": 4096, "block_config": "FA-CA-MLP",
            "num_blocks": 28, "num_heads": 32, "concat_padding_mask": True, "pos_emb_cls": "rope3d",
            "pos_emb_learnable": False, "pos_emb_interpolation": "crop", "block_x_format": "THWBD",
            "affline_emb_norm": True, "use_adaln_lora": True, "adaln_lora_dim": 256,
        },
        {"blocks": 28},
    ),
    "ernie.model.ErnieImageModel": ({}, {"layers": 36}),
    "genmo.joint_model.asymm_models_joint.AsymmDiTJoint": (
        {
            "depth": 48, "num_heads": 24, "hidden_size_x": 3072, "hidden_size_y": 1536, "mlp_ratio_x": 4.0,
            "mlp_ratio_y": 4.0, "learn_sigma": False, "in_channels": 12, "qk_norm": True, "qkv_bias": False,
            "out_bias": True, "patch_embed_bias": True, "posenc_preserve_area": True, "rope_theta": 10000.0,
            "t5_feat_dim": 4096, "t5_token_length": 256,
        },
        {"blocks": 48},
    ),
    "hidream.model.HiDreamImageTransformer2DModel": (
        {
            "attention_head_dim": 128, "axes_dims_rope": [64, 32, 32], "caption_channels": [4096, 4096],
            "max_resolution": [128, 128], "num_attention_heads": 20, "num_layers": 16, "num_single_layers": 32,
            "num_routed_experts": 4, "num_activated_experts": 2, "in_channels": 16, "out_channels": 16,
            "patch_size": 2, "text_emb_dim": 2048, "llama_layers": list(range(48)),
        },
        {"double_stream_blocks": 16, "single_stream_blocks": 32, "caption_projection": 49},
    ),
    "hidream_o1.model.HiDreamO1Transformer": ({}, {"visual.blocks": 27, "language_model.layers": 36}),
    "hunyuan3d.model.Hunyuan3Dv2": ({}, {"double_blocks": 16, "single_blocks": 32}),
    "hunyuan3dv2_1.hunyuandit.HunYuanDiTPlain": ({}, {"blocks": 21}),
    "hydit.models.HunYuanDiT": ({"depth": 40, "hidden_size": 1408, "num_heads": 16}, {"blocks": 40}),
    "ideogram4.model.Ideogram4Transformer2DModel": ({}, {"layers": 34}),
    "joyimage.model.JoyImageTransformer3DModel": ({}, {"double_blocks": 20}),
    "kandinsky5.model.Kandinsky5": ({}, {"text_transformer_blocks": 2, "visual_transformer_blocks": 32}),
    "lens.model.LensTransformer2DModel": ({}, {"transformer_blocks": 48}),
    "mage_flow.model.MageFlowTransformer2DModel": ({}, {"transformer_blocks": 12}),
    "minimax.model.MiniMaxH3Model": ({}, {"token_refiner.blocks": 2, "blocks": 50}),
    "omnigen.omnigen2.OmniGen2Transformer2DModel": (
        {},
        {"noise_refiner": 2, "ref_image_refiner": 2, "context_refiner": 2, "layers": 26},
    ),
    "pixeldit.model.PixDiT_T2I": ({}, {"patch_blocks": 14, "pixel_blocks": 2}),
    "pixeldit.pid.PidNet": (
        {},
        {"patch_blocks": 14, "pixel_blocks": 2, "lq_proj.latent_proj": 6, "lq_proj.gate_modules": 7},
    ),
    "seedvr.model.NaDiT": ({"norm_eps": 1e-5, "num_layers": 32, "mlp_type": "normal"}, {"blocks": 32}),
    "cascade.stage_b.StageB": ({}, {"down_blocks": 4, "up_blocks": 4}),
    "cascade.stage_c.StageC": ({}, {"down_blocks": 2, "up_blocks": 2, "up_upscalers": 1}),
    "trellis2.model.Trellis2": (
        {"resolution": 64, "init_txt_model": True},
        {f"{name}.blocks": 30 for name in ("img2shape", "shape2txt", "img2shape_512", "structure_model")},
    ),
    "triposplat.model.LatentSeqMMFlowModel": (
        {},
        {"noise_repo_layers": 2, "context_repo_layers": 2, "repo_layers": 24, "noise_refiner": 2,
         "context_refiner": 2, "blocks": 24},
    ),
    "lumina.model.NextDiTPixelSpace": (
        {
            "patch_size": 16, "in_channels": 3, "dim": 3840, "cap_feat_dim": 2560, "n_layers": 30, "n_heads": 30,
            "n_kv_heads": 30, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "rope_theta": 256.0,
            "ffn_dim_multiplier": 8 / 3, "z_image_modulation": True, "time_scale": 1000.0, "qk_norm": True,
        },
        {"noise_refiner": 2, "context_refiner": 2, "layers": 30, "dec_net.res_blocks": 4},
    ),
    "chroma_radiance.model.ChromaRadiance": (
        {
            "image_model": "chroma_radiance", "axes_dim": [16, 56, 56], "num_heads": 24, "mlp_ratio": 4.0,
            "theta": 10000, "out_channels": 3, "qkv_bias": True, "txt_ids_dims": [], "in_channels": 3,
            "hidden_size": 3072, "context_in_dim": 4096, "patch_size": 16, "vec_in_dim": None, "depth": 19,
            "depth_single_blocks": 38, "in_dim": 64, "out_dim": 3072, "hidden_dim": 5120, "n_layers": 5,
            "nerf_hidden_size": 64, "nerf_mlp_ratio": 4, "nerf_depth": 4, "nerf_max_freqs": 8,
            "nerf_tile_size": 512, "nerf_final_head_type": "conv", "nerf_embedder_dtype": None, "use_x0": False,
            "use_sequential_txt_ids": False,
        },
        {"distilled_guidance_layer.layers": 5, "double_blocks": 19, "single_blocks": 38, "nerf_blocks": 4},
    ),
    "wan.ar_model.CausalWanModel": ({}, _WAN),
    "wan.model.CameraWanModel": ({}, {**_WAN, "control_adapter.residual_blocks": 1}),
    "wan.model.HumoWanModel": ({}, _WAN),
    "wan.model.SCAIL2WanModel": ({}, _WAN),
    "wan.model.SCAILWanModel": ({}, _WAN),
    "wan.model.VaceWanModel": ({}, _WAN),
    "wan.model.WanModel_S2V": (
        {},
        {**_WAN, "audio_injector.injector": 12, "audio_injector.injector_adain_layers": 12},
    ),
    "wan.model_animate.AnimateWanModel": (
        {},
        {**_WAN, "motion_encoder.enc.net_app.convs": 9, "face_adapter.fuser_blocks": 6},
    ),
    "wan.model_wandancer.WanDancerModel": ({}, {"blocks": 40, "music_injector.injector": 8, "music_encoder": 2}),
}  # fmt: skip
"""Class below ``comfy.ldm``, what it is made with, and its containers."""


@lru_cache(None)
def model_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Weights of the model by full key, without memory for them."""
    import comfy.ops
    import torch

    module_name, _, class_name = name.rpartition(".")
    module = pytest.importorskip(f"comfy.ldm.{module_name}", reason=f"this ComfyUI does not have {class_name}")
    if not hasattr(module, class_name):
        pytest.skip(f"this ComfyUI does not have {class_name}")
    options = {"device": "meta", "dtype": torch.bfloat16, "operations": comfy.ops.disable_weight_init}
    with torch.device(BUILT[name][0].get("device", "meta")):
        model = getattr(module, class_name)(**options | BUILT[name][0])
    return {f"diffusion_model.{key}": tuple(tensor.shape) for key, tensor in model.state_dict().items()}
