"""Which model each class of ComfyUI and of diffusers is: its family, and where its weights are built.

A source is a name of ``model_zoo.CONFIGS`` or of ``built_models.BUILT``, or one of ``UNETS`` below.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from model_zoo import CONFIGS, zoo_shapes

DETECTORS = {"RT_DETR_v4", "SAM3", "SAM31", "DepthAnything3"}
"""Models that make no pictures, and that no LoRA loader meets."""
_SD, _SD2, _SDXL, _WAN = CONFIGS["SD 1.5"], CONFIGS["SD 2"], CONFIGS["SDXL"], "Wan 2.x 14B"
_I2V = "Wan 2.x 14B, image to video"
_DEEP = {
    "use_temporal_attention": True, "use_temporal_resblock": True, "video_kernel_size": [3, 1, 1],
    "extra_ff_mix_layer": True, "use_spatial_context": True, "merge_strategy": "learned_with_images",
    "merge_factor": 0.0,
}  # fmt: skip
UNETS: dict[str, dict[str, Any]] = {
    "zero123": {**_SD, "in_channels": 8},
    "unclip_l": {**_SD2, "num_classes": "sequential", "adm_in_channels": 1536},
    "unclip_h": {**_SD2, "num_classes": "sequential", "adm_in_channels": 2048},
    "lotus": {**_SD2, "in_channels": 4, "num_classes": "sequential", "adm_in_channels": 4},
    "upscaler": {**_SD2, "in_channels": 7, "model_channels": 256, "num_classes": 1000},
    "ssd1b": {
        **_SDXL, "transformer_depth": [0, 0, 2, 2, 4, 4], "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
        "transformer_depth_middle": -1,
    },
    "vega": {
        **_SDXL, "transformer_depth": [0, 0, 1, 1, 2, 2], "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
        "transformer_depth_middle": -1,
    },
    "koala_700m": {
        **_SDXL, "num_res_blocks": [1, 1, 1], "transformer_depth": [0, 2, 5],
        "transformer_depth_output": [0, 0, 2, 2, 5, 5], "transformer_depth_middle": -2,
    },
    "koala_1b": {
        **_SDXL, "num_res_blocks": [1, 1, 1], "transformer_depth": [0, 2, 6],
        "transformer_depth_output": [0, 0, 2, 2, 6, 6], "transformer_depth_middle": 6,
    },
    "svd": {**_SD2, **_DEEP, "in_channels": 8, "num_classes": "sequential", "adm_in_channels": 768},
}  # fmt: skip
_HUNYUAN = CONFIGS["HunyuanVideo"]
ZOO: dict[str, dict[str, Any]] = {
    "hunyuan_image21": {
        **_HUNYUAN, "in_channels": 64, "out_channels": 64, "patch_size": [1, 1], "axes_dim": [64, 64],
        "vec_in_dim": None, "context_in_dim": 3584, "hidden_size": 3584, "num_heads": 28, "byt5": True,
        "guidance_embed": False, "meanflow": True,
    },
    "hunyuan_video15": {
        **_HUNYUAN, "in_channels": 65, "out_channels": 32, "patch_size": [1, 1, 1], "vec_in_dim": None,
        "context_in_dim": 3584, "hidden_size": 2048, "num_heads": 16, "depth": 54, "depth_single_blocks": 0,
        "byt5": True, "guidance_embed": False, "use_cond_type_embedding": True, "vision_in_dim": 1152,
        "meanflow_sum": True,
    },
    "longcat": {
        **CONFIGS["FLUX.1 schnell"], "context_in_dim": 3584, "vec_in_dim": None, "txt_ids_dims": [1, 2],
    },
    "pixart_alpha": {**CONFIGS["PixArt"], "image_model": "pixart_alpha", "micro_condition": True},
    "ovis": {
        **CONFIGS["FLUX.1 schnell"], "context_in_dim": 2048, "vec_in_dim": None, "yak_mlp": True, "txt_norm": True,
        "depth": 6, "depth_single_blocks": 27, "txt_ids_dims": [1, 2],
    },
}  # fmt: skip

_AUDIO, _COG = "audio.dit.AudioDiffusionTransformer", "cogvideo.model.CogVideoXTransformer3DModel"
_KANDINSKY, _COSMOS2 = "kandinsky5.model.Kandinsky5", "Cosmos Predict 2 2B"
CLASSES: dict[str, tuple[str, str]] = {
    "LotusD": ("sd2", "lotus"), "Stable_Zero123": ("sd15", "zero123"), "SD15_instructpix2pix": ("sd15", "zero123"),
    "SD15": ("sd15", "SD 1.5"), "SD20": ("sd2", "SD 2"), "SD21UnclipL": ("sd2", "unclip_l"),
    "SD21UnclipH": ("sd2", "unclip_h"), "SDXL_instructpix2pix": ("sdxl", "SDXL"),
    "SDXLRefiner": ("sdxl_refiner", "SDXL refiner"), "SDXL": ("sdxl", "SDXL"), "SSD1B": ("sdxl", "ssd1b"),
    "KOALA_700M": ("sdxl", "koala_700m"), "KOALA_1B": ("sdxl", "koala_1b"), "Segmind_Vega": ("sdxl", "vega"),
    "SD_X4Upscaler": ("sd2", "upscaler"), "Stable_Cascade_C": ("stable_cascade", "cascade.stage_c.StageC"),
    "Stable_Cascade_B": ("stable_cascade", "cascade.stage_b.StageB"), "SV3D_u": ("svd", "svd"),
    "SV3D_p": ("svd", "svd"), "SD3": ("sd3", "SD3.5 large"), "StableAudio3": ("stable_audio", _AUDIO),
    "StableAudio": ("stable_audio", _AUDIO), "AuraFlow": ("auraflow", "AuraFlow"), "PixArtAlpha": ("pixart", "PixArt"),
    "PixArtSigma": ("pixart", "PixArt"),
    "HunyuanDiT": ("hunyuan_dit", "hydit.models.HunYuanDiT"),
    "HunyuanDiT1": ("hunyuan_dit", "hydit.models.HunYuanDiT"), "FluxInpaint": ("flux1", "FLUX.1"),
    "Flux": ("flux1", "FLUX.1"), "LongCatImage": ("longcat_image", "longcat"),
    "FluxSchnell": ("flux1", "FLUX.1 schnell"),
    "GenmoMochi": ("mochi", "genmo.joint_model.asymm_models_joint.AsymmDiTJoint"), "LTXV": ("ltx", "LTX-Video 2B"),
    "LTXAV": ("ltx2", "LTX-2"), "MiniMaxH3": ("minimax_h3", "minimax.model.MiniMaxH3Model"),
    "HunyuanVideo15_SR_Distilled": ("hunyuan_video15", "hunyuan_video15"),
    "HunyuanVideo15": ("hunyuan_video15", "hunyuan_video15"),
    "HunyuanImage21Refiner": ("hunyuan_image21", "hunyuan_image21"),
    "HunyuanImage21": ("hunyuan_image21", "hunyuan_image21"),
    "HunyuanVideoSkyreelsI2V": ("hunyuan_video", "HunyuanVideo"), "HunyuanVideoI2V": ("hunyuan_video", "HunyuanVideo"),
    "HunyuanVideo": ("hunyuan_video", "HunyuanVideo"), "CosmosT2V": ("cosmos1", "cosmos.model.GeneralDIT"),
    "CosmosI2V": ("cosmos1", "cosmos.model.GeneralDIT"), "CosmosT2IPredict2": ("cosmos_predict2", _COSMOS2),
    "CosmosI2VPredict2": ("cosmos_predict2", _COSMOS2),
    "ZImagePixelSpace": ("zimage", "lumina.model.NextDiTPixelSpace"),
    "ZImage": ("zimage", "Z-Image"), "PiD": ("pixeldit", "pixeldit.pid.PidNet"),
    "PixelDiTT2I": ("pixeldit", "pixeldit.model.PixDiT_T2I"), "Lumina2": ("lumina2", "Lumina 2"),
    "WAN22_T2V": ("wan", _WAN), "WAN21_CausalAR_T2V": ("wan", "wan.ar_model.CausalWanModel"),
    "WAN21_T2V": ("wan", _WAN),
    "WAN21_I2V": ("wan", _I2V), "WAN21_FunControl2V": ("wan", _I2V), "WAN21_Vace": ("wan", "wan.model.VaceWanModel"),
    "WAN21_Camera": ("wan", "wan.model.CameraWanModel"), "WAN22_Camera": ("wan", "wan.model.CameraWanModel"),
    "WAN22_S2V": ("wan", "wan.model.WanModel_S2V"), "WAN21_HuMo": ("wan", "wan.model.HumoWanModel"),
    "WAN22_Animate": ("wan", "wan.model_animate.AnimateWanModel"), "WAN21_FlowRVS": ("wan", _WAN),
    "WAN21_SCAIL": ("wan", "wan.model.SCAILWanModel"), "WAN21_SCAIL2": ("wan", "wan.model.SCAIL2WanModel"),
    "WAN22_WanDancer": ("wan", "wan.model_wandancer.WanDancerModel"),
    "Hunyuan3Dv2mini": ("hunyuan3d", "hunyuan3d.model.Hunyuan3Dv2"),
    "Hunyuan3Dv2": ("hunyuan3d", "hunyuan3d.model.Hunyuan3Dv2"),
    "Hunyuan3Dv2_1": ("hunyuan3d21", "hunyuan3dv2_1.hunyuandit.HunYuanDiTPlain"),
    "Trellis2": ("trellis2", "trellis2.model.Trellis2"),
    "TripoSplat": ("triposplat", "triposplat.model.LatentSeqMMFlowModel"),
    "HiDream": ("hidream", "hidream.model.HiDreamImageTransformer2DModel"),
    "HiDreamO1": ("hidream_o1", "hidream_o1.model.HiDreamO1Transformer"), "Chroma": ("chroma", "Chroma"),
    "SeedVR2": ("seedvr2", "seedvr.model.NaDiT"),
    "ChromaRadiance": ("chroma", "chroma_radiance.model.ChromaRadiance"),
    "ACEStep": ("ace_step", "ace.model.ACEStepTransformer2DModel"),
    "ACEStep15": ("ace_step15", "ace.ace_step15.AceStepConditionGenerationModel"),
    "Omnigen2": ("omnigen2", "omnigen.omnigen2.OmniGen2Transformer2DModel"),
    "Boogu": ("boogu", "boogu.model.BooguTransformer2DModel"),
    "MageFlow": ("mage_flow", "mage_flow.model.MageFlowTransformer2DModel"), "QwenImage": ("qwen_image", "Qwen-Image"),
    "JoyImage": ("joyimage", "joyimage.model.JoyImageTransformer3DModel"),
    "Ideogram4": ("ideogram4", "ideogram4.model.Ideogram4Transformer2DModel"), "Krea2": ("krea2", "Krea 2"),
    "Flux2": ("flux2", "FLUX.2 dev"), "Lens": ("lens", "lens.model.LensTransformer2DModel"),
    "Kandinsky5Image": ("kandinsky5", _KANDINSKY), "Kandinsky5": ("kandinsky5", _KANDINSKY),
    "Anima": ("anima", "Anima"), "ErnieImage": ("ernie_image", "ernie.model.ErnieImageModel"),
    "CogVideoX_Inpaint": ("cogvideox", _COG), "CogVideoX_I2V": ("cogvideox", _COG),
    "CogVideoX_T2V": ("cogvideox", _COG), "SVD_img2vid": ("svd", "svd"),
}  # fmt: skip
"""By class of ``comfy.supported_models``: family and source."""
NEWER = frozenset({"Trellis2"})
"""Those of them that came after ComfyUI 0.30."""

NO_PICTURES = {
    "MiniMaxMusic3RVQDepthDecoder", "T5FilmDecoder", "PriorTransformer", "RFD4ProteinaTransformer",
    "TransformerTemporalModel", "Transformer2DModel", "DualTransformer2DModel", "DreamLiteTransformer2DModel",
}  # fmt: skip
"""Decoders, priors, proteins and parts of a UNet."""
OPTIONS: dict[str, dict[str, Any]] = {
    "HunyuanDiT2DModel": {
        "num_attention_heads": 16, "attention_head_dim": 88, "in_channels": 4, "patch_size": 2, "hidden_size": 1408,
        "num_layers": 40, "mlp_ratio": 4.3637, "sample_size": 128,
    },
    "LatteTransformer3DModel": {
        "num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4, "out_channels": 8, "num_layers": 28,
        "sample_size": 64, "patch_size": 2, "cross_attention_dim": 1152, "caption_channels": 4096,
    },
    "LuminaNextDiT2DModel": {
        "sample_size": 128, "hidden_size": 2304, "num_layers": 24, "num_attention_heads": 32, "num_kv_heads": 8,
        "cross_attention_dim": 2048,
    },
    "EasyAnimateTransformer3DModel": {
        "num_attention_heads": 48, "attention_head_dim": 64, "in_channels": 16, "out_channels": 16, "patch_size": 2,
        "time_embed_dim": 512, "text_embed_dim": 3584, "num_layers": 48, "add_norm_text_encoder": True,
    },
    "HiDreamImageTransformer2DModel": {
        "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 16, "num_single_layers": 32,
        "attention_head_dim": 128, "num_attention_heads": 20, "caption_channels": [4096, 4096],
        "text_emb_dim": 2048, "num_routed_experts": 4, "num_activated_experts": 2, "axes_dims_rope": (64, 32, 32),
        "max_resolution": (128, 128), "llama_layers": list(range(48)),
    },
    "OmniGenTransformer2DModel": {"rope_scaling": {"short_factor": [1.0] * 48, "long_factor": [1.0] * 48}},
}  # fmt: skip
"""What a class of diffusers that has no defaults is made with."""
DIFFUSERS: dict[str, tuple[str, str]] = {
    "AceStepTransformer1DModel": ("ace_step15", ""), "AuraFlowTransformer2DModel": ("auraflow", "AuraFlow"),
    "CogVideoXTransformer3DModel": ("cogvideox", _COG), "ConsisIDTransformer3DModel": ("cogvideox", ""),
    "DiTTransformer2DModel": ("dit", ""), "HunyuanDiT2DModel": ("hunyuan_dit", ""),
    "LatteTransformer3DModel": ("latte", ""), "LuminaNextDiT2DModel": ("lumina_next", ""),
    "PixArtTransformer2DModel": ("pixart", "pixart_alpha"), "SanaTransformer2DModel": ("sana", ""),
    "StableAudioDiTModel": ("stable_audio", ""),
    "AllegroTransformer3DModel": ("allegro", ""), "AnyFlowTransformer3DModel": ("wan", ""),
    "AnyFlowFARTransformer3DModel": ("wan", ""), "BriaTransformer2DModel": ("bria", ""),
    "BriaFiboTransformer2DModel": ("bria", ""), "BriaFibo2Transformer2DModel": ("bria_fibo2", ""),
    "ChromaTransformer2DModel": ("chroma", "Chroma"), "ChronoEditTransformer3DModel": ("wan", _WAN),
    "CogView3PlusTransformer2DModel": ("cogview4", ""), "CogView4Transformer2DModel": ("cogview4", ""),
    "CosmosTransformer3DModel": ("cosmos1", "cosmos.model.GeneralDIT"), "Cosmos3OmniTransformer": ("cosmos3", ""),
    "EasyAnimateTransformer3DModel": ("easyanimate", ""), "ErnieImageTransformer2DModel": ("ernie_image", ""),
    "FluxTransformer2DModel": ("flux1", "FLUX.1"), "Flux2Transformer2DModel": ("flux2", "FLUX.2 dev"),
    "Flux3Transformer2DModel": ("flux3", ""), "GlmImageTransformer2DModel": ("glm_image", ""),
    "HeliosTransformer3DModel": ("wan", ""),
    "HiDreamImageTransformer2DModel": ("hidream", "hidream.model.HiDreamImageTransformer2DModel"),
    "HunyuanVideoTransformer3DModel": ("hunyuan_video", "HunyuanVideo"),
    "HunyuanVideo15Transformer3DModel": ("hunyuan_video15", "hunyuan_video15"),
    "HunyuanVideoFramepackTransformer3DModel": ("hunyuan_video", "HunyuanVideo"),
    "HunyuanImageTransformer2DModel": ("hunyuan_image21", "hunyuan_image21"),
    "Ideogram4Transformer2DModel": ("ideogram4", "ideogram4.model.Ideogram4Transformer2DModel"),
    "JoyImageEditTransformer3DModel": ("joyimage", "joyimage.model.JoyImageTransformer3DModel"),
    "JoyImageEditPlusTransformer3DModel": ("joyimage", "joyimage.model.JoyImageTransformer3DModel"),
    "Kandinsky5Transformer3DModel": ("kandinsky5", ""), "Kandinsky6Transformer3DModel": ("kandinsky6", ""),
    "Kandinsky6SRTransformer3DModel": ("kandinsky6", ""), "Krea2Transformer2DModel": ("krea2", "Krea 2"),
    "LongCatAudioDiTTransformer": ("longcat_audio", ""), "LongCatImageTransformer2DModel": ("longcat_image", "longcat"),
    "LTXVideoTransformer3DModel": ("ltx", "LTX-Video 2B"), "LTX2VideoTransformer3DModel": ("ltx2", "LTX-2"),
    "Lumina2Transformer2DModel": ("lumina2", ""), "MiniMaxH3Transformer3DModel": (
        "minimax_h3", "minimax.model.MiniMaxH3Model"),
    "MiniMaxMusic3Transformer1DModel": ("minimax_music3", ""),
    "MochiTransformer3DModel": ("mochi", ""),
    "MotifVideoTransformer3DModel": ("motif_video", ""), "NucleusMoEImageTransformer2DModel": ("nucleus", ""),
    "OmniGenTransformer2DModel": ("omnigen", ""), "OvisImageTransformer2DModel": ("ovis_image", "ovis"),
    "PRXTransformer2DModel": ("prx", ""), "QwenImageTransformer2DModel": ("qwen_image", "Qwen-Image"),
    "QwenImage21Transformer2DModel": ("qwen_image21", ""), "SanaVideoTransformer3DModel": ("sana", ""),
    "SanaWMTransformer3DModel": ("sana_wm", ""), "SanaWMLTX2RefinerTransformer3DModel": ("ltx2", ""),
    "SD3Transformer2DModel": ("sd3", ""), "SkyReelsV2Transformer3DModel": ("wan", ""),
    "StableAudio3DiTModel": ("stable_audio", ""), "WanTransformer3DModel": ("wan", _WAN),
    "WanAnimateTransformer3DModel": ("wan", ""), "WanAnimate2Transformer3DModel": ("wan", ""),
    "WanVACETransformer3DModel": ("wan", ""), "ZImageTransformer2DModel": ("zimage", "Z-Image"),
}  # fmt: skip
"""By transformer class of diffusers: family, and ComfyUI's model of the same size where there is one."""


@lru_cache(4)
def shapes_of(source: str) -> dict[str, tuple[int, ...]]:
    """Weights of a source by key, without ``diffusion_model.``."""
    if source in CONFIGS:
        return zoo_shapes(source)
    if source in ZOO:
        return _of_config(ZOO[source])
    if source in UNETS:
        return _of_unet(UNETS[source])
    from built_models import model_shapes

    return {key.removeprefix("diffusion_model."): shape for key, shape in model_shapes(source).items()}


def _of_config(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    import comfy.model_detection
    import torch

    found = comfy.model_detection.model_config_from_unet_config(dict(config))
    found.set_inference_dtype(torch.bfloat16, None)
    model = found.get_model({}, "", device=torch.device("meta"))
    return {key: tuple(value.shape) for key, value in model.diffusion_model.state_dict().items()}


def _of_unet(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    import comfy.ops
    import torch
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    model = UNetModel(**config, device="meta", dtype=torch.bfloat16, operations=comfy.ops.disable_weight_init)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}
