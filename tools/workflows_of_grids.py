"""Workflows that put many pictures on a sheet: which LoRA, which epoch, which strength."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_parts import DISTILLED, DUOTONE, PROMPT, PROMPTS, VAE

_LORAS = "klein-nano-duotone-distilled.safetensors\nklein-nano-monochrome.safetensors"
_FLUX2 = "https://huggingface.co/Comfy-Org/flux2-klein/resolve/main/split_files"
_FLUX2_VAE = "https://huggingface.co/Comfy-Org/flux2-dev/resolve/main/split_files/vae"
_FILES = {
    "model": ("flux-2-klein-4b.safetensors", f"{_FLUX2}/diffusion_models", "diffusion_models"),
    "clip": ("qwen_3_4b.safetensors", f"{_FLUX2}/text_encoders", "text_encoders"),
    "vae": ("flux2-vae.safetensors", _FLUX2_VAE, "vae"),
}


def grid_nano(object_info: dict[str, Any]) -> Graph:
    """Three bundled LoRAs at three strengths."""
    graph = Graph(object_info, "Compare LoRAs and strengths (Klein Nano)")
    graph.note(
        "## Which LoRA, at which strength?\n\n"
        "**LoRA Grid** makes a picture for every combination, all with the same noise, and compares each with the "
        "model without a LoRA. Three LoRAs and three strengths are nine pictures.\n\n"
        "Point at a picture to read its settings; click it to enlarge it, and *Use these settings* writes them to the "
        "*Apply LoRA* on the right.\n\n"
        "Things to try:\n\n"
        "- one more strength: only the new pictures are made\n"
        "- `single_blocks.*=0` as a second line of *blocks*, after an empty first one: a page for each\n"
        "- *reference* `strength=1`: how far is each from its own full strength?\n"
        "- a *folder* of your own epochs\n\n"
        "The sheet is saved in the output folder with this workflow inside: drop it on the canvas to open it.",
        (-420, 0),
        (380, 560),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [DISTILLED, "default"])
    vae = graph.add("PatchbayLoadTinyVAE", (0, 150), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 290), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 520), (340, 50), conditioning=prompt["conditioning"])
    latent = graph.add("EmptyFlux2LatentImage", (0, 640), (340, 130), [128, 128, 1])
    sampled = [7, 4, 1.0, "euler", "simple", 1, "without LoRA", 600.0, "auto", False, "auto", "auto"]
    grid = graph.add(
        "PatchbayLoraGrid",
        (420, 0),
        (700, 1400),
        [DUOTONE, "none", "0.5, 1, 1.5", "", *sampled, _LORAS, "", True, "lora-patchbay/grid"],
        model=unet["MODEL"],
        negative=empty["CONDITIONING"],
        latent_image=latent["LATENT"],
        vae=vae["vae"],
        positive=prompt["conditioning"],
    )
    graph.add("PreviewImage", (1180, 0), (520, 560), title="The sheet", images=grid["sheet"])
    graph.add("PatchbayApplyLora", (1180, 640), (420, 760), [DUOTONE, 1.0, 1.0, "", "auto", False], model=unet["MODEL"])
    graph.group("Model, prompt and size", (-20, -80, 400, 1500))
    graph.group("The grid", (400, -80, 740, 1500), "#3b7d4f")
    graph.group("The sheet, and a LoRA to put the choice on", (1160, -80, 560, 1500), "#8a6d3b")
    return graph


def grid_klein_4b(object_info: dict[str, Any]) -> Graph:
    """Epochs of a training on FLUX.2 Klein 4B."""
    graph = Graph(object_info, "Compare epochs and strengths (FLUX.2 Klein 4B)")
    links = {
        key: [{"name": name, "url": f"{url}/{name}", "directory": folder}]
        for key, (name, url, folder) in _FILES.items()
    }
    names = {key: name for key, (name, _, _) in _FILES.items()}
    listed = "\n".join(f"- [{name}]({url}/{name}) in `models/{folder}`" for name, url, folder in _FILES.values())
    graph.note(
        "## Fifteen epochs, four strengths: which one?\n\n"
        f"Needs\n\n{listed}\n\n"
        "1. Put the epochs of a training into a folder inside `models/loras`, and choose it in *folder* of "
        "**LoRA Grid**. Or choose one LoRA in *lora_name*.\n"
        "2. Write a prompt that the training is about.\n"
        "3. Press **Run**. Pictures show as they come. What is not made within *time_budget* is made when you run "
        "again, and nothing is made twice.\n\n"
        "Epochs run down in the order of their numbers, strengths run across. Each picture is compared with the one "
        "without a LoRA; with *reference* `lora=LABEL, strength=1`, with the epoch that you trust.",
        (-420, 0),
        (380, 620),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [names["model"], "default"], models=links["model"])
    clip = graph.add("CLIPLoader", (0, 150), (340, 130), [names["clip"], "flux2", "default"], models=links["clip"])
    vae = graph.add("VAELoader", (0, 330), (340, 80), [names["vae"]], models=links["vae"])
    text = graph.add("CLIPTextEncode", (0, 460), (340, 160), ["a red fox in the snow, photograph"], clip=clip["CLIP"])
    empty = graph.add("ConditioningZeroOut", (0, 680), (340, 50), conditioning=text["CONDITIONING"])
    latent = graph.add("EmptyFlux2LatentImage", (0, 790), (340, 130), [1024, 1024, 1])
    sampled = [7, 4, 1.0, "euler", "simple", 1, "without LoRA", 1800.0, "auto", False, "auto", "auto"]
    grid = graph.add(
        "PatchbayLoraGrid",
        (420, 0),
        (700, 1400),
        ["none", "none", "0.5, 0.75, 1, 1.25", "", *sampled, "", "", True, "lora-patchbay/grid"],
        model=unet["MODEL"],
        negative=empty["CONDITIONING"],
        latent_image=latent["LATENT"],
        vae=vae["VAE"],
        positive=text["CONDITIONING"],
    )
    graph.add("PreviewImage", (1180, 0), (720, 1000), title="The sheet", images=grid["sheet"])
    graph.group("Model, prompt and size", (-20, -80, 400, 1500))
    graph.group("The grid", (400, -80, 740, 1500), "#3b7d4f")
    graph.group("The sheet", (1160, -80, 760, 1500))
    return graph


WORKFLOWS = (grid_nano, grid_klein_4b)
