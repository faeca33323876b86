"""Key lists of real files on hubs, against answers that were checked one by one with the files' names.

The lists are the fixtures of the PyPI package ``safetensors-arch`` 0.3.0 (source distribution, ``tests/fixtures``), which
are not part of this project: ``patchbay.py test`` and ``setup`` fetch it to ``.runtime/safetensors-arch``; another folder
can be named in ``PATCHBAY_ARCH_FIXTURES``.
They hold no shapes, so that variants (Klein 9B, Wan 14B) cannot be told and what only shapes tell is ambiguous.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from lora_files import header_from
from pack.nodes.core.lora.file import read_lora
from pack.nodes.core.lora.file_kinds import identify_lora, identify_model, looks_like_lora
from support import some

# ruff: noqa: E501 - the table of answers is read across

ROOT = Path(__file__).parents[4]
DEFAULT = ROOT / ".runtime" / "safetensors-arch" / "tests" / "fixtures"
FOLDER = Path(os.environ.get("PATCHBAY_ARCH_FIXTURES", DEFAULT))

# Source and file: kind and architecture.
ANSWERS: dict[str, tuple[str, str]] = {
    "XLabs-AI/flux-RealismLora/lora.safetensors": ("lora", "FLUX.1"),
    "gokaygokay/Flux-2D-Game-Assets-LoRA/game_assets_v3.safetensors": (
        "lora",
        "FLUX.1 or Chroma or LongCat-Image or Bria",
    ),
    "manycore-research/FLUX.1-Wireframe-dev-lora/lora.safetensors": (
        "lora",
        "FLUX.1 or Chroma or LongCat-Image or Bria",
    ),
    "strangerzonehf/Flux-Sketch-Smudge-LoRA/Sketch-Smudge.safetensors": ("lora", "FLUX.1 or LongCat-Image"),
    "DiffSynth-Studio/Qwen-Image-Edit-2511-ICEdit-LoRA/model.safetensors": ("lora", "Qwen-Image"),
    "fal/Qwen-Image-Edit-2511-Multiple-Angles-LoRA/qwen-image-edit-2511-multiple-angles-lora.safetensors": (
        "lora",
        "Qwen-Image",
    ),
    "flymy-ai/qwen-image-realism-lora/flymy_realism.safetensors": ("lora", "Qwen-Image"),
    "TenStrip/Wan2.2_H3_Motion_Lora/H3_Wan2.2_i2v_motion_rank1024_test1.safetensors": (
        "lora",
        "MiniMax-H3",
    ),
    "deadman44/Wan2.2_T2i_T2v_LoRA/lora_wan2.2_myjc_High_v01.safetensors": ("lora", "Wan 2.x"),
    "lightx2v/Wan2.2-Distill-Loras/wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022.safetensors": (
        "lora",
        "Wan 2.x",
    ),
    "strangerzonehf/Flux-Ultimate-LoRA-Collection/2021-Art.safetensors": ("lora", "FLUX.1 or LongCat-Image"),
    "thedeoxen/refcontrol-FLUX.2-klein-9B-reference-pose-lora/refcontrol_v2_poses.safetensors": (
        "lora",
        "FLUX.2 (up to 8 double + 24 single blocks)",
    ),
    "linoyts/Flux2-Klein-Delight-LoRA/pytorch_lora_weights.safetensors": (
        "lora",
        "FLUX.2 or FLUX.1 or Chroma or 16 others",
    ),
    "Shakker-Labs/FLUX.1-dev-LoRA-Dark-Fantasy/FLUX.1-dev-lora-Dark-Fantasy.safetensors": (
        "lora",
        "FLUX.1 or LongCat-Image",
    ),
    "AX1Y2JP/FLUX.1-schnell-krea-lora-merged/flux1-krea-schnell-DF11.safetensors": ("diffusion_model", "FLUX.1"),
    "Shakker-Labs/FLUX.1-dev-LoRA-add-details/FLUX-dev-lora-add_details.safetensors": (
        "lora",
        "FLUX.1 or Chroma or LongCat-Image or Bria",
    ),
    "lopi999/Wan2.2-I2V_General-NSFW-LoRA/NSFW-22-H-e8.safetensors": ("lora", "Wan 2.x"),
    "AlekseyCalvin/HSToric_Color_Wan2.2_5B_LoRA_BySilverAgePoets/HSTcolorWan225b_000000200.safetensors": (
        "lora",
        "Wan 2.x",
    ),
    "SlartyG/wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022/wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022.safetensors": (
        "lora",
        "Wan 2.x",
    ),
    "thatboymentor/WAN2.2LORASforVVideo/FullDynamic_Ultimate_Fusion_Elite.safetensors": ("lora", "Wan 2.x"),
    "FT-LLM-2026-RAMEN/hsr-video-lora-wan21/adapter_model.safetensors": ("lora", "Wan 2.x"),
    "ScottzillaSystems/qwen-image-edit-plus-nsfw-lora/qwen-image-edit-plus-nsfw-lora.safetensors": (
        "lora",
        "Qwen-Image",
    ),
    "Wuli-art/Qwen-Image-2512-Turbo-LoRA/Wuli-Qwen-Image-2512-Turbo-LoRA-4steps-V1.0-bf16.safetensors": (
        "lora",
        "Qwen-Image",
    ),
    "starsfriday/Qwen-Image-EVA-LoRA/qwen_image_eva.safetensors": ("lora", "Qwen-Image"),
    "strangerzonehf/Qwen-Image-Edit-LoRA-Collection/HRP_20.safetensors": ("lora", "Qwen-Image"),
    "AX1Y2JP/anima_extracted_lora/anima_aestheticV10_extracted_lora_rank_064-fp16.safetensors": ("lora", "Anima"),
    "Comfy-Org/flux1-schnell/flux1-schnell.safetensors": ("diffusion_model", "FLUX.1"),
    "Wan-AI/Wan2.1-T2V-1.3B/diffusion_pytorch_model.safetensors": ("diffusion_model", "Wan 2.x"),
    "Comfy-Org/Wan_2.1_ComfyUI_repackaged/split_files/diffusion_models/wan2.1_fun_camera_v1.1_1.3B_bf16.safetensors": (
        "diffusion_model",
        "Wan 2.x, image to video",
    ),
    "Comfy-Org/Qwen-Image_ComfyUI/split_files/diffusion_models/qwen_image_bf16.safetensors": (
        "diffusion_model",
        "Qwen-Image",
    ),
    "Qwen/Qwen-Image/transformer/diffusion_pytorch_model-00001-of-00009.safetensors": ("diffusion_model", "Qwen-Image"),
    "Qwen/Qwen-Image/transformer/diffusion_pytorch_model-00003-of-00009.safetensors": ("diffusion_model", "Qwen-Image"),
    "Qwen/Qwen-Image/transformer/diffusion_pytorch_model-00005-of-00009.safetensors": ("diffusion_model", "Qwen-Image"),
    "Qwen/Qwen-Image/transformer/diffusion_pytorch_model-00009-of-00009.safetensors": ("diffusion_model", "Qwen-Image"),
}


LORA = "lora"
# Source of each LoRA: adapter kinds, key style; by the suffixes and prefixes of its keys.
KINDS: dict[str, tuple[str, str]] = {
    "XLabs-AI/flux-RealismLora": (LORA, "xlabs"),
    "gokaygokay/Flux-2D-Game-Assets-LoRA": (LORA, "diffusers"),
    "manycore-research/FLUX.1-Wireframe-dev-lora": (LORA, "diffusers"),
    "strangerzonehf/Flux-Sketch-Smudge-LoRA": (LORA, "kohya"),
    "DiffSynth-Studio/Qwen-Image-Edit-2511-ICEdit-LoRA": (LORA, "diffusers_bare"),
    "fal/Qwen-Image-Edit-2511-Multiple-Angles-LoRA": (LORA, "diffusers"),
    "flymy-ai/qwen-image-realism-lora": (LORA, "diffusers"),
    "TenStrip/Wan2.2_H3_Motion_Lora": (LORA, "kohya"),
    "deadman44/Wan2.2_T2i_T2v_LoRA": (LORA, "native"),
    "lightx2v/Wan2.2-Distill-Loras": ("diff_b, lora, diff", "native"),
    "strangerzonehf/Flux-Ultimate-LoRA-Collection": (LORA, "kohya"),
    "thedeoxen/refcontrol-FLUX.2-klein-9B-reference-pose-lora": (LORA, "native"),
    "linoyts/Flux2-Klein-Delight-LoRA": (LORA, "diffusers"),
    "Shakker-Labs/FLUX.1-dev-LoRA-Dark-Fantasy": (LORA, "kohya"),
    "Shakker-Labs/FLUX.1-dev-LoRA-add-details": (LORA, "diffusers"),
    "lopi999/Wan2.2-I2V_General-NSFW-LoRA": (LORA, "native"),
    "AlekseyCalvin/HSToric_Color_Wan2.2_5B_LoRA_BySilverAgePoets": (LORA, "native"),
    "SlartyG/wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022": ("diff_b, lora, diff", "native"),
    "thatboymentor/WAN2.2LORASforVVideo": (LORA, "native_bare"),
    "FT-LLM-2026-RAMEN/hsr-video-lora-wan21": (LORA, "peft_diffusers"),
    "ScottzillaSystems/qwen-image-edit-plus-nsfw-lora": (LORA, "native_diffusers"),
    "Wuli-art/Qwen-Image-2512-Turbo-LoRA": (LORA, "peft_diffusers"),
    "starsfriday/Qwen-Image-EVA-LoRA": (LORA, "diffusers"),
    "strangerzonehf/Qwen-Image-Edit-LoRA-Collection": (LORA, "diffusers_bare"),
    "AX1Y2JP/anima_extracted_lora": (LORA, "native"),
}


@pytest.mark.parametrize("fixture", ["real_families", "oos_families", "full_models"])
def test_real_key_lists(fixture: str) -> None:
    path = FOLDER / f"{fixture}.json.gz"
    if not path.exists():
        pytest.skip(f"the fixtures of safetensors-arch are not here: {path}")
    for sample in some(json.loads(gzip.decompress(path.read_bytes()))["samples"]):
        header = header_from(dict.fromkeys(sample["keys"], ()))
        name = f"{sample['source']}/{sample['file']}"
        found = identify_lora(read_lora(header)) if looks_like_lora(header) else identify_model(header)
        assert found.architecture is not None
        assert (found.kind, found.architecture.name) == ANSWERS[name], name
        if found.kind == "lora":
            # Factors are told from their shapes, which the lists do not hold.
            file = read_lora(header_from({key: () if key.endswith("alpha") else (4, 4) for key in sample["keys"]}))
            assert (", ".join(file.formats), file.style.id) == KINDS[sample["source"]], name
