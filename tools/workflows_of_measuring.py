"""The workflow that answers what a LoRA costs, on the base model and on its distilled version."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_parts import BASE, BASE_CFG, BASE_STEPS, DISTILLED, DUOTONE, PROMPT, PROMPTS, VAE

_SECONDS = 20.0


def cost_nano(object_info: dict[str, Any]) -> Graph:
    """Base and distilled, each with and without the LoRA, in one table; and one model measured in a normal graph."""
    graph = Graph(object_info, "What does this LoRA cost (Klein Nano)")
    graph.note(
        "## What does this LoRA cost?\n\n"
        "**Benchmark** samples four models with the same noise: the base and its 4-step distilled version, each "
        "without and with the LoRA. It runs each of them twice in a row, again and again: the first run after a switch "
        "carries the cost of switching, the second gives the steady time.\n\n"
        "Read it from top to bottom: is a step slower with the LoRA, by how much, how sure is that; what does "
        "switching cost; where does memory go; and why.\n\n"
        "Each line of *conditions* is a name, and after the bar what differs for that model. `against=3` compares with "
        "the third line.\n\n"
        "**Measure** and **Measure Report** do the same for a sampler of your own: below, one Heun sampling, which "
        "evaluates the model 7 times in 4 steps.\n\n"
        "Things to try: *method* of Apply LoRA; the same LoRA at several strengths; your own model. On a CPU the "
        "memory is the program's whole main memory; on a GPU it is split.",
        (-420, 0),
        (380, 620),
        "Read me",
    )
    base = graph.add("UNETLoader", (0, 0), (340, 100), [BASE, "default"], "Base")
    distilled = graph.add("UNETLoader", (0, 150), (340, 100), [DISTILLED, "default"], "Distilled")
    vae = graph.add("PatchbayLoadTinyVAE", (0, 300), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 430), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 650), (340, 50), conditioning=prompt["conditioning"])
    latent = graph.add("EmptyFlux2LatentImage", (0, 750), (340, 130), [128, 128, 1])
    with_lora = [
        graph.add(
            "PatchbayApplyLora",
            (420, row * 860),
            (400, 800),
            [DUOTONE, 1.0, 1.0, "", "merge", False],
            title,
            model=model["MODEL"],
        )
        for row, (model, title) in enumerate(((base, "LoRA on the base"), (distilled, "LoRA on the distilled")))
    ]
    conditions = "base\nbase + LoRA\ndistilled | steps=4 cfg=1\ndistilled + LoRA | steps=4 cfg=1 against=3"
    settings = [7, BASE_STEPS, BASE_CFG, "euler", "simple", _SECONDS, 2.0, True, False]
    bench = graph.add(
        "PatchbayBenchmark",
        (900, 0),
        (640, 1230),
        [conditions, *settings],
        model_a=base["MODEL"],
        model_b=with_lora[0]["model"],
        model_c=distilled["MODEL"],
        model_d=with_lora[1]["model"],
        positive=prompt["conditioning"],
        negative=empty["CONDITIONING"],
        latent_image=latent["LATENT"],
        vae=vae["vae"],
    )
    decode = graph.add("VAEDecode", (1620, 0), (260, 60), samples=bench["latents"], vae=vae["vae"])
    graph.add("PreviewImage", (1620, 110), (420, 440), title="The four results", images=decode["IMAGE"])
    graph.add("PreviewImage", (1620, 610), (420, 380), title="The figures as a picture", images=bench["picture"])
    _measured(graph, with_lora[1]["model"], prompt["conditioning"], empty["CONDITIONING"], latent["LATENT"])
    graph.group("Models, prompt and size", (-20, -80, 400, 1780))
    graph.group("The LoRA on both", (400, -80, 440, 1780), "#8a6d3b")
    graph.group("What it costs", (880, -80, 680, 1360), "#3b7d4f")
    graph.group("Pictures", (1600, -80, 460, 1100))
    return graph


def _measured(graph: Graph, model: Any, positive: Any, negative: Any, latent: Any) -> None:
    """Measure and Measure Report around a sampler of the graph's own."""
    measure = graph.add("PatchbayMeasure", (2120, 0), (340, 170), ["distilled + LoRA, heun", False, False], model=model)
    sampler = graph.add(
        "KSampler",
        (2120, 240),
        (340, 320),
        [7, "fixed", 4, 1.0, "heun", "simple", 1.0],
        model=measure["model"],
        positive=positive,
        negative=negative,
        latent_image=latent,
    )
    graph.add(
        "PatchbayMeasureReport",
        (2520, 0),
        (580, 640),
        [True],
        recorder=measure["recorder"],
        after=sampler["LATENT"],
    )
    graph.group("A sampler of your own, measured", (2100, -80, 1020, 760), "#8a6d3b")


_FLUX2 = "https://huggingface.co/Comfy-Org/flux2-klein/resolve/main/split_files"
_VAE = "https://huggingface.co/Comfy-Org/flux2-dev/resolve/main/split_files/vae"
_KLEIN_FILES = {
    "base": ("flux-2-klein-base-4b.safetensors", f"{_FLUX2}/diffusion_models", "diffusion_models"),
    "distilled": ("flux-2-klein-4b.safetensors", f"{_FLUX2}/diffusion_models", "diffusion_models"),
    "clip": ("qwen_3_4b.safetensors", f"{_FLUX2}/text_encoders", "text_encoders"),
    "vae": ("flux2-vae.safetensors", _VAE, "vae"),
}


def cost_klein_4b(object_info: dict[str, Any]) -> Graph:
    """The same for FLUX.2 Klein 4B and a LoRA of the user's own."""
    graph = Graph(object_info, "What does this LoRA cost (FLUX.2 Klein 4B)")
    links = {
        key: [{"name": name, "url": f"{url}/{name}", "directory": folder}]
        for key, (name, url, folder) in _KLEIN_FILES.items()
    }
    names = {key: name for key, (name, _, _) in _KLEIN_FILES.items()}
    listed = "\n".join(f"- [{name}]({url}/{name}) in `models/{folder}`" for name, url, folder in _KLEIN_FILES.values())
    graph.note(
        "## What does your LoRA cost on FLUX.2 [klein] 4B?\n\n"
        "Base (20 steps, CFG 4) and its distilled version (4 steps, CFG 1), each without and with the LoRA, with the "
        "same noise, in one table.\n\n"
        f"**Files**\n\n{listed}\n\n"
        "**Choose your LoRA** in both *Apply LoRA* nodes. The one that is set is made for Klein Nano and fits nothing "
        "here, so that it costs nothing either.\n\n"
        "Allow a few minutes: each model is sampled at least four times. Try *method* bypass in one of the two.\n\n"
        "**Save Conditioning** keeps the prompt: with *Load Conditioning* in place of the text encoder, the encoder's "
        "memory is out of the next measurement.",
        (-440, 0),
        (400, 640),
        "Read me",
    )
    base = graph.add("UNETLoader", (0, 0), (360, 100), [names["base"], "default"], "Base", links["base"])
    distilled = graph.add(
        "UNETLoader", (0, 150), (360, 100), [names["distilled"], "default"], "Distilled", links["distilled"]
    )
    clip = graph.add("CLIPLoader", (0, 300), (360, 120), [names["clip"], "flux2", "default"], models=links["clip"])
    vae = graph.add("VAELoader", (0, 470), (360, 70), [names["vae"]], models=links["vae"])
    prompt = "A hedgehog in a knitted scarf on a mossy log, morning light, shallow depth of field"
    text = graph.add("CLIPTextEncode", (0, 590), (360, 180), [prompt], clip=clip["CLIP"])
    empty = graph.add("CLIPTextEncode", (0, 820), (360, 120), [""], "Empty prompt", clip=clip["CLIP"])
    latent = graph.add("EmptyFlux2LatentImage", (0, 990), (360, 130), [1024, 1024, 1])
    graph.add(
        "PatchbaySaveConditioning",
        (0, 1170),
        (360, 260),
        ["klein-4b-prompts", "hedgehog", True],
        conditioning=text["CONDITIONING"],
    )
    with_lora = [
        graph.add(
            "PatchbayApplyLora",
            (440, row * 860),
            (400, 800),
            [DUOTONE, 1.0, 1.0, "", "merge", False],
            title,
            model=model["MODEL"],
        )
        for row, (model, title) in enumerate(
            ((base, "Your LoRA on the base"), (distilled, "Your LoRA on the distilled"))
        )
    ]
    conditions = "base\nbase + LoRA\ndistilled | steps=4 cfg=1\ndistilled + LoRA | steps=4 cfg=1 against=3"
    bench = graph.add(
        "PatchbayBenchmark",
        (920, 0),
        (640, 1230),
        [conditions, 7, 20, 4.0, "euler", "simple", 180.0, 1.0, True, False],
        model_a=base["MODEL"],
        model_b=with_lora[0]["model"],
        model_c=distilled["MODEL"],
        model_d=with_lora[1]["model"],
        positive=text["CONDITIONING"],
        negative=empty["CONDITIONING"],
        latent_image=latent["LATENT"],
        vae=vae["VAE"],
    )
    decode = graph.add("VAEDecode", (1640, 0), (260, 60), samples=bench["latents"], vae=vae["VAE"])
    graph.add("PreviewImage", (1640, 110), (520, 540), title="The four results", images=decode["IMAGE"])
    graph.add("PreviewImage", (1640, 710), (520, 460), title="The figures as a picture", images=bench["picture"])
    graph.group("Models, prompt and size", (-20, -80, 400, 1780))
    graph.group("Your LoRA on both", (420, -80, 440, 1780), "#8a6d3b")
    graph.group("What it costs", (900, -80, 680, 1360), "#3b7d4f")
    graph.group("Pictures", (1620, -80, 560, 1300))
    return graph


WORKFLOWS = (cost_nano, cost_klein_4b)
