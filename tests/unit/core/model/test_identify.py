"""Architectures, adapter kinds and key styles of real headers, against answers made by hand from their sources."""

from __future__ import annotations

from pathlib import Path

import pytest
from lora_files import flux2_shapes, header_from, header_of, lora_shapes, shared
from pack.nodes.core.files.header import read_header
from pack.nodes.core.lora.file import read_lora
from pack.nodes.core.lora.file_kinds import identify_lora, identify_model, looks_like_lora
from pack.nodes.core.model.facts import collect_facts
from pack.nodes.core.model.identify import identify_architecture
from support import some

# ruff: noqa: E501 - the table of answers is read across

NANO = "FLUX.2 (hidden 128, up to 2 double + 3 single blocks)"
SHARED_ATTENTION = "FLUX.2 or FLUX.1 or Chroma or 16 others"
FAMILY = "FLUX.2 or FLUX.1 or Chroma or 4 others"
FLUX_BLOCKS = "FLUX.1 or Chroma or LongCat-Image"

# File: architecture, formats, key style, writer.
LORAS: dict[str, tuple[str, str, str, str]] = {
    "flux_key_shapes/flux_lokr_bfl_format": (FAMILY, "lokr", "native", "ComfyUI (trainer or LoraSave)"),
    "flux_key_shapes/flux_lora_aitoolkit_format": (FLUX_BLOCKS, "lora", "native", "ai-toolkit or a converter"),
    "flux_key_shapes/flux_lora_diffusers_base_model_format": (f"{FLUX_BLOCKS} or Bria", "lora", "peft_diffusers", "PEFT (save_pretrained)"),
    "flux_key_shapes/flux_lora_diffusers_format": (f"{FLUX_BLOCKS} or Bria", "lora", "diffusers", "diffusers"),
    "flux_key_shapes/flux_lora_kohya_format": ("FLUX.1 or LongCat-Image", "lora", "kohya", "kohya sd-scripts or musubi-tuner"),
    "flux_key_shapes/flux_lora_kohya_with_te1_format": ("FLUX.1 or LongCat-Image", "lora", "kohya", "kohya sd-scripts or musubi-tuner"),
    "flux_key_shapes/flux_lora_xlabs_format": ("FLUX.1", "lora", "xlabs", "XLabs x-flux"),
    "flux_key_shapes/qwen_image_lora_diffusers_format": (
        "FLUX.2 Klein 4B or FLUX.1 or Chroma or 7 others", "lora", "diffusers_bare", "DiffSynth or diffusers (save_lora_adapter)",
    ),
    "real_sd15/catundchat_sd15": ("SD 1.5", "lora", "diffusers_processor", "diffusers (old attention processors)"),
    "real_sd15/cloneofsimo_analog_svd_rank4": ("SD 1.5", "lora", "cloneofsimo", "cloneofsimo/lora"),
    "real_sd15/cloneofsimo_lora_disney": ("SD 1.5", "lora", "cloneofsimo", "cloneofsimo/lora"),
    "real_sd15/rafid_brainmri": ("SD 1.5", "lora", "diffusers", "diffusers"),
    "real_sd15/timohavdk_new": ("SD 1.5", "lora", "underscored", ""),
    "writers/aitoolkit_dora": (NANO, "lora + DoRA", "native", "ai-toolkit"),
    "writers/aitoolkit_lokr": (NANO, "lokr", "native", "ai-toolkit"),
    "writers/aitoolkit_lora": (NANO, "lora", "native", "ai-toolkit"),
    "writers/comfyui_lorasave_full_diff": (NANO, "diff", "native", "ComfyUI (trainer or LoraSave)"),
    "writers/comfyui_lorasave_standard": (NANO, "lora, diff", "native", "ComfyUI (trainer or LoraSave)"),
    "writers/comfyui_trainer_loha": (NANO, "loha, diff", "native", "ComfyUI (trainer or LoraSave)"),
    "writers/comfyui_trainer_lokr": (NANO, "lokr, diff", "native", "ComfyUI (trainer or LoraSave)"),
    "writers/comfyui_trainer_lora": (NANO, "lora, diff", "native", "ComfyUI (trainer or LoraSave)"),
    "writers/comfyui_trainer_oft": (NANO, "oft, diff", "native", "ComfyUI (trainer or LoraSave)"),
    "writers/lycoris_boft": ("FLUX.2 or FLUX.1 or Chroma or 10 others", "boft", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_diag_oft": (NANO, "oft", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_dylora": (NANO, "dylora", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_full": (NANO, "diff", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_glora": (NANO, "glora", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_ia3": (NANO, "ia3", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_loha": (NANO, "loha", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_loha_dora": (NANO, "loha + DoRA", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_lokr": (NANO, "lokr", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_lokr_dora": (NANO, "lokr + DoRA", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_lokr_full": (NANO, "lokr", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_lora": (NANO, "lora", "lycoris", "LyCORIS (kohya)"),
    "writers/lycoris_lora_dora": (NANO, "lora + DoRA", "lycoris", "LyCORIS (kohya)"),
    "writers/musubi_loha": (NANO, "loha", "kohya", "musubi-tuner"),
    "writers/musubi_lokr": (NANO, "lokr", "kohya", "musubi-tuner"),
    "writers/musubi_lora": (NANO, "lora", "kohya", "musubi-tuner"),
    **{
        f"writers/onetrainer_{form}_{style}": (NANO, shown, key_style, "OneTrainer")
        for form, shown in (("loha", "loha"), ("lokr", "lokr"), ("lora", "lora"), ("lora_dora", "lora + DoRA"), ("oft_2", "oft_2"))
        for style, key_style in (
            ("comfy", "native"), ("diffusers", "diffusers"), ("kohya", "kohya"), ("legacy", "diffusers"),
            ("original", "native_bare"),
        )
    },
    **{
        f"writers/peft_{name}.{saver}": (architecture, shown, style, "diffusers / PEFT")
        for name, architecture, shown in (
            ("blocks_alpha2x", NANO, "lora"), ("default_attn", SHARED_ATTENTION, "lora"), ("dora", NANO, "lora + DoRA"),
            ("extra_all_linear", NANO, "lora"), ("rank_alpha_pattern", SHARED_ATTENTION, "lora"), ("rslora", NANO, "lora"),
        )
        for saver, style in (("model_save_lora_adapter", "diffusers_bare"), ("pipeline_save_lora_weights", "diffusers"))
    },
    **{
        f"writers/peftraw_{form}": (NANO, shown, "peft_diffusers", "PEFT (save_pretrained)")
        for form, shown in (("boft", "boft"), ("loha", "loha"), ("lokr", "lokr"), ("lora", "lora"), ("oft", "oft_2"))
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LORAS)
def test_real_lora_headers(name: str) -> None:
    architecture, formats, style, writer = LORAS[name]
    header = header_of(shared(f"headers/{name}.json"))
    assert looks_like_lora(header)
    lora = read_lora(header)
    match = identify_lora(lora).architecture
    assert match is not None
    assert (match.name, ", ".join(lora.formats), lora.style.id, lora.writer.name) == (
        architecture,
        formats,
        style,
        writer,
    )
    assert all(layer.format for layer in some(lora.layers))
    assert match.evidence


def test_every_shared_header_has_an_answer() -> None:
    folder = shared("headers")
    names = {str(path.relative_to(folder).with_suffix("")).replace("\\", "/") for path in folder.glob("*/*.json")}
    assert {name for name in names if not name.startswith("models/")} == set(LORAS)


def test_names_alone_tell_sdxl() -> None:
    lora = read_lora(header_of(shared("headers/sdxl_lokr_keys.json")))
    match = identify_lora(lora).architecture
    assert match is not None
    assert (match.name, match.certainty) == ("SDXL", "certain")


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("anima_comfyui_keys", "Anima"),
        ("flux2_dev_bfl_keys_shapes", "FLUX.2 dev"),
        ("flux2_klein4b_bfl_keys_shapes", "FLUX.2 Klein 4B"),
        ("flux2_klein9b_bfl_keys_shapes", "FLUX.2 Klein 9B"),
        ("flux2_transformer_bfl_keys", "FLUX.2 (hidden 4096, 1 double + 1 single blocks)"),
        ("z_image_transformer_comfyui_keys", "Z-Image"),
    ],
)
def test_real_model_headers(name: str, architecture: str) -> None:
    found = identify_model(header_of(shared(f"headers/models/{name}.json")))
    assert found.kind == "diffusion_model"
    assert found.architecture is not None
    assert (found.architecture.name, found.architecture.certainty) == (architecture, "certain")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("embeddings/fastai_learned_embeds.bin", "embedding"),
        ("embeddings/invokeai_test_embedding.safetensors", "embedding"),
        ("taef2/taef2_decoder.pth", "taesd"),
        ("taef2/taef2_encoder.pth", "taesd"),
        ("nano/nano_2x3_bfl_f32.safetensors", "diffusion_model"),
        ("quant/nano_2x3_Q4_0.gguf", "diffusion_model"),
        ("quant/nano_2x3_nvfp4.safetensors", "diffusion_model"),
    ],
)
def test_real_files_of_other_kinds(path: str, kind: str) -> None:
    assert identify_model(read_header(shared(path))).kind == kind


KLEIN_4B = flux2_shapes(3072, 5, 20, 7680)
KLEIN_9B = flux2_shapes(4096, 8, 24, 12288)
DEV = {**flux2_shapes(6144, 8, 48, 15360), "guidance_in.in_layer.weight": (6144, 256)}


@pytest.mark.parametrize(
    ("shapes", "name"), [(KLEIN_4B, "FLUX.2 Klein 4B"), (KLEIN_9B, "FLUX.2 Klein 9B"), (DEV, "FLUX.2 dev")]
)
@pytest.mark.parametrize("prefix", ["diffusion_model.", "", "base_model.model.", "transformer."])
def test_flux2_sizes(shapes: dict[str, tuple[int, ...]], name: str, prefix: str) -> None:
    model = identify_model(header_from(shapes)).architecture
    lora = identify_lora(read_lora(header_from(lora_shapes(shapes, prefix=prefix)))).architecture
    assert model is not None
    assert lora is not None
    assert (model.name, lora.name) == (name, name)


def only(shapes: dict[str, tuple[int, ...]], part: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in shapes.items() if part in key}


def test_attention_of_flux1_and_klein_4b_is_ambiguous() -> None:
    lora = read_lora(header_from(lora_shapes(only(KLEIN_4B, "attn"))))
    match = identify_lora(lora).architecture
    assert match is not None
    assert match.certainty == "ambiguous"
    assert set(match.candidates) == {"flux2", "flux1", "chroma", "hunyuan_video", "longcat_image", "ovis_image"}


def test_a_single_block_of_9b_is_9b() -> None:
    lora = read_lora(header_from(lora_shapes(only(KLEIN_9B, "single_blocks.7."))))
    match = identify_lora(lora).architecture
    assert match is not None
    assert match.name == "FLUX.2 Klein 9B"


def unet(context: int, depth: int = 1) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"input_blocks.0.0.weight": (320, 4, 3, 3), "out.2.weight": (4, 320, 3, 3)}
    for i in range(depth):
        block = f"input_blocks.4.1.transformer_blocks.{i}."
        shapes[f"{block}attn1.to_q.weight"] = (640, 640)
        shapes[f"{block}attn2.to_k.weight"] = (640, context)
    return shapes


MODELS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "sd15": (unet(768), "SD 1.5"),
    "sd2": (unet(1024), "SD 2"),
    "sdxl": (unet(2048, 2), "SDXL"),
    "sd3": (
        {
            "joint_blocks.0.context_block.attn.qkv.weight": (4608, 1536),
            "joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536),
        },
        "SD3 / SD3.5 medium",
    ),
    "chroma": (
        {
            "distilled_guidance_layer.layers.0.in_layer.weight": (5120, 5120),
            "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
        },
        "Chroma",
    ),
    "lumina2": ({"layers.0.attention.qkv.weight": (3840, 2304), "cap_embedder.1.weight": (2304, 2304)}, "Lumina 2"),
    "z_image": ({"layers.0.attention.qkv.weight": (11520, 3840), "cap_embedder.1.weight": (3840, 2560), "cap_pad_token": (1, 3840)}, "Z-Image"),
    "ming_image": ({"layers.0.attention.qkv.weight": (11520, 3840), "cap_embedder.1.weight": (3840, 2560)}, "Ming-Image"),
    "qwen": (
        {
            "transformer_blocks.0.attn.to_q.weight": (3072, 3072),
            "transformer_blocks.0.img_mlp.net.0.proj.weight": (12288, 3072),
            "transformer_blocks.0.img_mod.1.weight": (18432, 3072),
            "txt_in.weight": (3072, 3584),
        },
        "Qwen-Image",
    ),
    "wan": (
        {
            "blocks.0.self_attn.q.weight": (5120, 5120),
            "blocks.0.ffn.0.weight": (13824, 5120),
            "head.modulation": (1, 2, 5120),
        },
        "Wan 2.x 14B",
    ),
    "wan_small": (
        {"blocks.0.self_attn.q.weight": (1536, 1536), "blocks.0.cross_attn.k.weight": (1536, 1536)},
        "Wan 2.1 1.3B",
    ),
    "hunyuan_video": (
        {
            "txt_in.individual_token_refiner.blocks.0.norm1.weight": (3072,),
            "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
            "double_blocks.0.img_mlp.0.weight": (12288, 3072),
        },
        "HunyuanVideo",
    ),
    "ltx": (
        {
            "adaln_single.emb.timestep_embedder.linear_1.weight": (2048, 256),
            "transformer_blocks.0.attn1.to_q.weight": (2048, 2048),
        },
        "LTX-Video 2B",
    ),
    "anima": ({"net.llm_adapter.blocks.0.cross_attn.q_proj.weight": (1024, 1024)}, "Anima"),
    "krea2": ({"blocks.0.attn.wq.weight": (6144, 6144), "txtfusion.projector.weight": (1, 12)}, "Krea 2"),
}


@pytest.mark.parametrize("name", MODELS)
def test_architectures_of_models_and_their_loras(name: str) -> None:
    shapes, expected = MODELS[name]
    found = identify_model(header_from(shapes)).architecture
    assert found is not None
    assert found.name == expected
    assert found.evidence


@pytest.mark.parametrize("name", ["sd15", "sd2", "sdxl", "sd3", "z_image", "lumina2", "qwen", "wan", "krea2"])
@pytest.mark.parametrize("kohya", [False, True])
def test_architectures_of_loras(name: str, kohya: bool) -> None:
    shapes, expected = MODELS[name]
    layers: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes.items():
        if len(shape) == 2:
            layer = key.removesuffix(".weight")
            layer = "lora_unet_" + layer.replace(".", "_") if kohya else f"diffusion_model.{layer}"
            layers[f"{layer}.lora_down.weight"] = (4, shape[1])
            layers[f"{layer}.lora_up.weight"] = (shape[0], 4)
    match = identify_lora(read_lora(header_from(layers))).architecture
    assert match is not None
    assert match.name == expected


def test_an_unknown_architecture_is_described_by_its_containers() -> None:
    shapes = {f"towers.{i}.mixing.dense.weight": (256, 256) for i in range(7)}
    found = identify_model(header_from(shapes))
    assert found.architecture is not None
    assert found.architecture.name == "unknown architecture with 7 towers"


KINDS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "checkpoint": (
        {
            "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
            "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        },
        "checkpoint",
    ),
    "vae": ({"decoder.conv_in.weight": (512, 16, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)}, "vae"),
    "clip": ({"text_model.encoder.layers.0.self_attn.q_proj.weight": (768, 768)}, "text_encoder"),
    "t5": (
        {"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096), "shared.weight": (32128, 4096)},
        "text_encoder",
    ),
    "qwen3": (
        {"model.layers.0.self_attn.q_proj.weight": (4096, 2560), "model.embed_tokens.weight": (151936, 2560)},
        "text_encoder",
    ),
    "controlnet": ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "controlnet"),
    "flux controlnet": (
        {"controlnet_blocks.0.weight": (3072, 3072), "controlnet_x_embedder.weight": (3072, 64)},
        "controlnet",
    ),
    "ip adapter": ({"image_proj.proj.weight": (3072, 1024), "ip_adapter.1.to_k_ip.weight": (320, 768)}, "ip_adapter"),
    "clip vision": ({"vision_model.encoder.layers.0.self_attn.q_proj.weight": (1280, 1280)}, "clip_vision"),
    "embedding": ({"emb_params": (4, 768)}, "embedding"),
    "SDXL embedding": ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "embedding"),
    "one bias": ({"bias": (3,)}, "unknown"),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_files(name: str) -> None:
    shapes, kind = KINDS[name]
    assert identify_model(header_from(shapes)).kind == kind


def test_a_model_is_no_lora(tmp_path: Path) -> None:
    assert not looks_like_lora(header_from(KLEIN_4B))
    assert not looks_like_lora(header_from({}))


def test_a_language_model_that_draws_is_told_by_its_second_projections() -> None:
    own = [(f"language_model.model.layers.{i}.self_attn.q_proj_mot_gen", 4096, 4096) for i in range(3)]
    assert identify_architecture(collect_facts(own, whole=False)).id == "sensenova_u1"
    plain = [(name.removesuffix("_mot_gen"), rows, columns) for name, rows, columns in own]
    assert identify_architecture(collect_facts(plain, whole=False)).certainty != "certain"
