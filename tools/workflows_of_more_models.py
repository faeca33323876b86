"""With and without a LoRA on models that are not one diffusion model, one text encoder and one VAE: a checkpoint, two
models for one video, and video with sound."""

from __future__ import annotations

import json
from typing import Any

from .workflow_graph import Graph
from .workflow_parts import DUOTONE
from .workflows_of_models import COLUMN, COMFY_ORG, HUGGING_FACE, File, Output, compared, note_of

WAN_FILES = f"{COMFY_ORG}/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files"
FRAMES = 33


def sdxl(object_info: dict[str, Any]) -> Graph:
    """One checkpoint; the LoRA changes both text encoders too."""
    graph = Graph(object_info, "SDXL with and without a LoRA")
    file = File(
        "sd_xl_base_1.0.safetensors", f"{HUGGING_FACE}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main",
        "checkpoints",
    )  # fmt: skip
    latent: list[Output] = []

    def load() -> dict[str, Output]:
        loader = graph.add("CheckpointLoaderSimple", (0, 0), (340, 100), [file.name], models=file.link)
        return {"model": loader["MODEL"], "clip": loader["CLIP"], "vae": loader["VAE"]}

    def sample(given: dict[str, Output], suffix: str) -> Output:
        if not latent:
            latent.append(graph.add("EmptyLatentImage", (0, 0), (300, 130), [1024, 1024, 1])["LATENT"])
        clip = given[f"clip{suffix}"]
        positive = graph.add("CLIPTextEncode", (0, 0), (300, 90), [""], "Prompt", clip=clip, text=given["prompt"])
        negative = graph.add("CLIPTextEncode", (0, 0), (300, 90), ["text, watermark"], "Negative prompt", clip=clip)
        sampled = graph.add(
            "KSampler", (0, 0), (300, 262), [7, "fixed", 25, 8.0, "euler", "normal", 1.0],
            model=given[f"model{suffix}"],
            positive=positive["CONDITIONING"], negative=negative["CONDITIONING"], latent_image=latent[0],
        )  # fmt: skip
        return graph.add("VAEDecode", (0, 0), (230, 60), samples=sampled["LATENT"], vae=given["vae"])["IMAGE"]

    about = (
        "Many SDXL LoRAs change the text encoders too: *strength_clip* is for those. One for SD 1.5, Pony or "
        "Illustrious is told apart where the file says so; the last two have SDXL's shapes and land."
    )
    note = note_of("SDXL", "25 steps at CFG 8", about, (file,))
    compared(graph, note, load, "evening sunset scenery blue sky nature, glass bottle with a galaxy in it", sample)
    return graph


def ltx2(object_info: dict[str, Any]) -> Graph:
    """The first pass of LTX-2's video; the frames are compared."""
    graph = Graph(object_info, "LTX-2 with and without a LoRA")
    checkpoint = File("ltx-2-19b-dev-fp8.safetensors", f"{HUGGING_FACE}/Lightricks/LTX-2/resolve/main", "checkpoints")
    encoder = File(
        "gemma_3_12B_it_fp4_mixed.safetensors", f"{COMFY_ORG}/ltx-2/resolve/main/split_files/text_encoders",
        "text_encoders",
    )  # fmt: skip
    shared: dict[str, Output] = {}

    def load() -> dict[str, Output]:
        loader = graph.add("CheckpointLoaderSimple", (0, 0), (340, 100), [checkpoint.name], models=checkpoint.link)
        return {"model": loader["MODEL"], "vae": loader["VAE"]}

    def sample(given: dict[str, Output], suffix: str) -> Output:
        if not shared:
            shared.update(_ltx2_shared(graph, checkpoint, encoder, given["prompt"]))
        guider = graph.add(
            "CFGGuider", (0, 0), (260, 100), [4.0], model=given[f"model{suffix}"], positive=shared["positive"],
            negative=shared["negative"],
        )  # fmt: skip
        sampled = graph.add(
            "SamplerCustomAdvanced", (0, 0), (260, 110), noise=shared["noise"], guider=guider["GUIDER"],
            sampler=shared["sampler"], sigmas=shared["sigmas"], latent_image=shared["latent"],
        )  # fmt: skip
        video = graph.add("LTXVSeparateAVLatent", (0, 0), (260, 60), av_latent=sampled["output"])
        tiles = [512, 64, 4096, 8]
        samples = video["video_latent"]
        return graph.add("VAEDecodeTiled", (0, 0), (260, 150), tiles, samples=samples, vae=given["vae"])["IMAGE"]

    about = (
        "This is the first pass of ComfyUI's own template, at half size and without the upscaling pass: what the LoRA "
        "does is decided here. *Compare Images* goes through the frames. The sound is sampled along and not shown."
    )
    note = note_of("LTX-2", "20 steps at CFG 4", about, (checkpoint, encoder))
    prompt = (
        "A close-up of a cheerful girl puppet with curly auburn yarn hair and wide button eyes, holding a small red "
        "umbrella above her head. Rain falls gently around her."
    )
    compared(graph, note, load, prompt, sample)
    return graph


def _ltx2_shared(graph: Graph, checkpoint: File, encoder: File, text: Output) -> dict[str, Output]:
    clip = graph.add(
        "LTXAVTextEncoderLoader", (0, 0), (340, 120), [encoder.name, checkpoint.name, "default"],
        models=[*encoder.link, *checkpoint.link],
    )["CLIP"]  # fmt: skip
    avoided = "blurry, low quality, still frame, frames, watermark, overlay, titles, has blurbox, has subtitles"
    positive = graph.add("CLIPTextEncode", (0, 0), (300, 90), [""], "Prompt", clip=clip, text=text)
    negative = graph.add("CLIPTextEncode", (0, 0), (300, 120), [avoided], "Negative prompt", clip=clip)
    both = graph.add(
        "LTXVConditioning", (0, 0), (260, 80), [24.0], positive=positive["CONDITIONING"],
        negative=negative["CONDITIONING"],
    )  # fmt: skip
    sound = graph.add("LTXVAudioVAELoader", (0, 0), (340, 60), [checkpoint.name], models=checkpoint.link)
    video = graph.add("EmptyLTXVLatentVideo", (0, 0), (300, 150), [640, 352, FRAMES, 1])
    audio = graph.add("LTXVEmptyLatentAudio", (0, 0), (300, 130), [FRAMES, 24, 1], audio_vae=sound["Audio VAE"])
    latent = graph.add(
        "LTXVConcatAVLatent", (0, 0), (260, 60), video_latent=video["LATENT"], audio_latent=audio["Latent"]
    )["latent"]
    schedule = [20, 2.05, 0.95, True, 0.1]
    return {
        "positive": both["positive"], "negative": both["negative"], "latent": latent,
        "sigmas": graph.add("LTXVScheduler", (0, 0), (300, 160), schedule, latent=latent)["SIGMAS"],
        "sampler": graph.add("KSamplerSelect", (0, 0), (300, 70), ["euler_ancestral"])["SAMPLER"],
        "noise": graph.add("RandomNoise", (0, 0), (300, 90), [10, "fixed"])["NOISE"],
    }  # fmt: skip


_WAN = {
    level: File(
        f"wan2.2_t2v_{level}_noise_14B_fp8_scaled.safetensors", f"{WAN_FILES}/diffusion_models", "diffusion_models"
    )
    for level in ("high", "low")
}
_WAN_CLIP = File(
    "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    f"{COMFY_ORG}/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/text_encoders", "text_encoders",
)  # fmt: skip
_WAN_VAE = File("wan_2.1_vae.safetensors", f"{WAN_FILES}/vae", "vae")
_WAN_STEPS, _WAN_SPLIT = 20, 10


def wan22(object_info: dict[str, Any]) -> Graph:
    """Two models, one for each half of the steps, each with the LoRA that was trained for it."""
    graph = Graph(object_info, "Wan 2.2 with and without a LoRA")
    loaded: dict[str, Output] = {}
    for row, (level, file) in enumerate(_WAN.items()):
        values, title = [file.name, "default"], f"{level.capitalize()} noise"
        loader = graph.add("UNETLoader", (0, 150 * row), (340, 90), values, title, models=file.link)
        loaded[f"{level} noise"] = loader["MODEL"]
    about = (
        "Wan 2.2 has two models: one for the noisy first half of the steps, one for the rest. A LoRA for it is two "
        "files, and each belongs on its own model; both models have the same shapes, so a swapped pair lands too and "
        "the names have to be minded. A LoRA for Wan 2.1 14B has these shapes as well."
    )
    files = (*_WAN.values(), _WAN_CLIP, _WAN_VAE)
    text = note_of("Wan 2.2", f"{_WAN_STEPS} steps at CFG 3.5", about, files).replace("in *Apply LoRA*", "in each row")
    graph.note(text, (0, 400), (340, 640), "Read me")
    prompt = graph.add(
        "PrimitiveStringMultiline", (COLUMN["lora"], 0), (420, 140),
        ["A red fox trots along a snowy ridge at dawn, breath in the cold air, slow camera pan"], "Prompt",
    )  # fmt: skip
    prompt.floor = 230
    patched: dict[str, Output] = {}
    for row, name in enumerate(loaded):
        rows = json.dumps([{"on": True, "lora": DUOTONE, "strength": 1.0}])
        node = graph.add(
            "PatchbayApplyLoras", (COLUMN["lora"], 300 + 200 * row), (420, 260), [rows, "auto", False],
            f"LoRA for {name}", model=loaded[name],
        )  # fmt: skip
        patched[f"{name} + LoRA"] = node["model"]
    begin = len(graph.nodes)
    given = {**loaded, **patched, "prompt": prompt["STRING"]}
    given = {name: given[name] for name in (*loaded, "prompt", *patched)}
    shared = _wan_shared(graph, given["prompt"])
    both = {
        name: _wan_sampled(graph, [given[f"{level} noise{suffix}"] for level in _WAN], shared)
        for name, suffix in (("without LoRA", ""), ("with LoRA", " + LoRA"))
    }
    folded = graph.fold("Same noise, same steps", graph.nodes[begin:], (COLUMN["sampling"], 0), given, both)
    graph.add(
        "PatchbayCompareImages", (COLUMN["compare"], 0), (700, 760), ["without LoRA", "with LoRA", 4.0],
        image_a=folded["without LoRA"], image_b=folded["with LoRA"],
    )  # fmt: skip
    return graph


def _wan_shared(graph: Graph, text: Output) -> dict[str, Output]:
    clip = graph.add("CLIPLoader", (0, 0), (340, 110), [_WAN_CLIP.name, "wan", "default"], models=_WAN_CLIP.link)
    vae = graph.add("VAELoader", (0, 0), (340, 90), [_WAN_VAE.name], models=_WAN_VAE.link)
    positive = graph.add("CLIPTextEncode", (0, 0), (300, 90), [""], "Prompt", clip=clip["CLIP"], text=text)
    negative = graph.add("CLIPTextEncode", (0, 0), (300, 120), [""], "Negative prompt", clip=clip["CLIP"])
    latent = graph.add("EmptyHunyuanLatentVideo", (0, 0), (300, 150), [640, 640, FRAMES, 1])
    return {
        "vae": vae["VAE"], "positive": positive["CONDITIONING"], "negative": negative["CONDITIONING"],
        "latent": latent["LATENT"],
    }  # fmt: skip


def _wan_sampled(graph: Graph, models: list[Output], shared: dict[str, Output]) -> Output:
    latent = shared["latent"]
    halves = (("enable", 0, _WAN_SPLIT, "enable"), ("disable", _WAN_SPLIT, _WAN_STEPS, "disable"))
    for model, (noise, first, last, leftover) in zip(models, halves, strict=True):
        shifted = graph.add("ModelSamplingSD3", (0, 0), (260, 60), [5.0], model=model)["MODEL"]
        values = [noise, 7, "fixed", _WAN_STEPS, 3.5, "euler", "simple", first, last, leftover]
        latent = graph.add(
            "KSamplerAdvanced", (0, 0), (300, 340), values, model=shifted, positive=shared["positive"],
            negative=shared["negative"], latent_image=latent,
        )["LATENT"]  # fmt: skip
    return graph.add("VAEDecode", (0, 0), (230, 60), samples=latent, vae=shared["vae"])["IMAGE"]


WORKFLOWS = (sdxl, wan22, ltx2)
