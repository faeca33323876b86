"""Workflows that put many pictures on a sheet: which LoRA, which epoch, which strength."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_parts import DISTILLED, DUOTONE, prompt_of_nano

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
    unet = graph.add("UNETLoader", (0, 0), (340, 90), [DISTILLED, "default"])
    given = prompt_of_nano(graph, (0, 100), "Prompt and size")
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
        (0, 200),
        (340, 640),
        "Read me",
    )
    sampled = [7, 4, 1.0, "euler", "simple", 1, "without LoRA", 600.0, "auto", False, "auto", "auto"]
    grid = graph.add(
        "PatchbayLoraGrid",
        (400, 0),
        (700, 1400),
        [DUOTONE, "none", "0.5, 1, 1.5", "", *sampled, _LORAS, "", True, "lora-patchbay/grid"],
        model=unet["MODEL"],
        **given.by_name(),
    )
    grid.floor = 60
    graph.add("PatchbayApplyLora", (1160, 0), (420, 780), [DUOTONE, 1.0, 1.0, "", "auto", False], model=unet["MODEL"])
    graph.add("PreviewImage", (1160, 100), (520, 560), title="The sheet", images=grid["sheet"])
    return graph


def grid_klein_4b(object_info: dict[str, Any]) -> Graph:
    """Epochs of a training on FLUX.2 Klein 4B."""
    graph = Graph(object_info, "FLUX.2 Klein 4B - compare epochs and strengths")
    links = {
        key: [{"name": name, "url": f"{url}/{name}", "directory": folder}]
        for key, (name, url, folder) in _FILES.items()
    }
    names = {key: name for key, (name, _, _) in _FILES.items()}
    listed = "\n".join(f"- [{name}]({url}/{name}) in `models/{folder}`" for name, url, folder in _FILES.values())
    unet = graph.add("UNETLoader", (0, 0), (340, 90), [names["model"], "default"], models=links["model"])
    begin = len(graph.nodes)
    clip = graph.add("CLIPLoader", (0, 0), (340, 130), [names["clip"], "flux2", "default"], models=links["clip"])
    text = graph.add("CLIPTextEncode", (0, 0), (340, 160), ["a red fox in the snow, photograph"], clip=clip["CLIP"])
    made = {
        "positive": text["CONDITIONING"],
        "negative": graph.add("ConditioningZeroOut", (0, 0), (340, 50), conditioning=text["CONDITIONING"])[
            "CONDITIONING"
        ],
        "latent_image": graph.add("EmptyFlux2LatentImage", (0, 0), (340, 130), [1024, 1024, 1])["LATENT"],
        "vae": graph.add("VAELoader", (0, 0), (340, 80), [names["vae"]], models=links["vae"])["VAE"],
    }
    given = graph.fold("Prompt and size", graph.nodes[begin:], (0, 100), {}, made)
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
        (0, 200),
        (340, 640),
        "Read me",
    )
    sampled = [7, 4, 1.0, "euler", "simple", 1, "without LoRA", 1800.0, "auto", False, "auto", "auto"]
    grid = graph.add(
        "PatchbayLoraGrid",
        (400, 0),
        (700, 1400),
        ["none", "none", "0.5, 0.75, 1, 1.25", "", *sampled, "", "", True, "lora-patchbay/grid"],
        model=unet["MODEL"],
        **given.by_name(),
    )
    graph.add("PreviewImage", (1160, 0), (720, 1000), title="The sheet", images=grid["sheet"])
    return graph


WORKFLOWS = (grid_nano, grid_klein_4b)
