"""The workflow that answers what a LoRA costs, on the base model and on its distilled version."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .workflow_graph import Graph
from .workflow_node import Node
from .workflow_parts import BASE, BASE_CFG, BASE_STEPS, DISTILLED, DUOTONE, VAE, prompt_of_nano

_SECONDS = 20.0
_CONDITIONS = "base\nbase + LoRA\ndistilled | steps=4 cfg=1\ndistilled + LoRA | steps=4 cfg=1 against=3"
HEDGEHOG = "A hedgehog in a knitted scarf on a mossy log, morning light, shallow depth of field"


def cost_nano(object_info: dict[str, Any]) -> Graph:
    """Base and distilled, each with and without the LoRA, in one table; and one model measured in a normal graph."""
    graph = Graph(object_info, "What does this LoRA cost (Klein Nano)")
    base = graph.add("UNETLoader", (0, 0), (340, 90), [BASE, "default"], "Base")
    distilled = graph.add("UNETLoader", (0, 100), (340, 90), [DISTILLED, "default"], "Distilled")
    given = prompt_of_nano(graph, (0, 200), "Prompt and size")
    graph.note(
        "## What does this LoRA cost?\n\n"
        "**Benchmark** samples four models with the same noise: the base and its 4-step distilled version, each "
        "without and with the LoRA. It runs each of them twice in a row, again and again: the first run after a switch "
        "carries the cost of switching, the second gives the steady time.\n\n"
        "Read it from top to bottom: is a step slower with the LoRA, by how much, how sure is that; what does "
        "switching cost; where does memory go; and why.\n\n"
        "Each line of *conditions* is a name, and after the bar what differs for that model. `against=3` compares with "
        "the third line.\n\n"
        "**Measure** and **Measure Report** do the same for a sampler of your own: further down, one Heun sampling, "
        "which evaluates the model 7 times in 4 steps.\n\n"
        "Things to try: *method* of the LoRA; the same LoRA at several strengths; your own model. On a CPU the "
        "memory is the program's whole main memory; on a GPU it is split.",
        (0, 300),
        (340, 620),
        "Read me",
    )

    def load_vae() -> tuple[Node, int]:
        return graph.add("PatchbayLoadTinyVAE", (0, 0), (300, 90), [VAE])["vae"]

    with_lora = _benchmark(
        graph, (base, distilled), given, load_vae, [7, BASE_STEPS, BASE_CFG, "euler", "simple", _SECONDS, 2.0]
    )
    _measured(graph, with_lora[1], prompt_of_nano(graph, (870, 1400), "The same prompt and size"))
    return graph


def _benchmark(
    graph: Graph,
    models: tuple[Node, Node],
    given: Node,
    load_vae: Callable[[], tuple[Node, int]],
    settings: list[Any],
) -> list[Any]:
    """Both models, each without and with the LoRA; the two with it are returned."""
    rows = json.dumps([{"on": True, "lora": DUOTONE, "strength": 1.0}])
    with_lora = []
    for row, (model, title) in enumerate(zip(models, ("LoRA on the base", "LoRA on the distilled"), strict=True)):
        node = graph.add(
            "PatchbayApplyLoras", (410, 200 * row), (400, 150), [rows, "auto", False], title, model=model["MODEL"]
        )
        node.floor = 480
        with_lora.append(node["model"])
    base, distilled = models
    bench = graph.add(
        "PatchbayBenchmark",
        (870, 0),
        (640, 1040),
        [_CONDITIONS, *settings, True, False],
        model_a=base["MODEL"],
        model_b=with_lora[0],
        model_c=distilled["MODEL"],
        model_d=with_lora[1],
        **given.by_name(),
    )
    begin = len(graph.nodes)
    decoded = graph.add("VAEDecode", (0, 0), (230, 60), samples=bench["latents"], vae=load_vae())["IMAGE"]
    decode = graph.fold("Decode", graph.nodes[begin:], (1570, 0), {"latents": bench["latents"]}, {"pictures": decoded})
    graph.add("PreviewImage", (1850, 0), (380, 400), title="The four results", images=decode["pictures"])
    graph.add("PreviewImage", (1850, 500), (380, 360), title="The figures as a picture", images=bench["picture"])
    return with_lora


def _measured(graph: Graph, model: Any, given: Node) -> None:
    """Measure and Measure Report around a sampler of the graph's own."""
    given.floor = 1500
    measure = graph.add(
        "PatchbayMeasure", (870, 1200), (300, 130), ["distilled + LoRA, heun", False, False], model=model
    )
    measure.floor = 1250
    sampler = graph.add(
        "KSampler",
        (1240, 1250),
        (340, 262),
        [7, "fixed", 4, 1.0, "heun", "simple", 1.0],
        model=measure["model"],
        positive=given["positive"],
        negative=given["negative"],
        latent_image=given["latent_image"],
    )
    sampler.floor = 1360
    report = graph.add(
        "PatchbayMeasureReport",
        (1650, 1250),
        (580, 640),
        [True],
        recorder=measure["recorder"],
        after=sampler["LATENT"],
    )
    report.floor = 1250


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
    graph = Graph(object_info, "FLUX.2 Klein 4B - what does this LoRA cost")
    links = {
        key: [{"name": name, "url": f"{url}/{name}", "directory": folder}]
        for key, (name, url, folder) in _KLEIN_FILES.items()
    }
    names = {key: name for key, (name, _, _) in _KLEIN_FILES.items()}
    listed = "\n".join(f"- [{name}]({url}/{name}) in `models/{folder}`" for name, url, folder in _KLEIN_FILES.values())
    base, distilled = (
        graph.add("UNETLoader", (0, 100 * row), (340, 90), [names[key], "default"], key.capitalize(), links[key])
        for row, key in enumerate(("base", "distilled"))
    )
    begin = len(graph.nodes)
    clip = graph.add("CLIPLoader", (0, 0), (360, 120), [names["clip"], "flux2", "default"], models=links["clip"])
    text = graph.add("CLIPTextEncode", (0, 0), (360, 180), [HEDGEHOG], clip=clip["CLIP"])
    empty = graph.add("CLIPTextEncode", (0, 0), (360, 120), [""], "Empty prompt", clip=clip["CLIP"])

    def load_vae() -> tuple[Node, int]:
        return graph.add("VAELoader", (0, 0), (360, 90), [names["vae"]], models=links["vae"])["VAE"]

    made = {
        "positive": text["CONDITIONING"],
        "negative": empty["CONDITIONING"],
        "latent_image": graph.add("EmptyFlux2LatentImage", (0, 0), (360, 130), [1024, 1024, 1])["LATENT"],
        "vae": load_vae(),
    }
    given = graph.fold("Prompt and size", graph.nodes[begin:], (0, 200), {}, made)
    graph.note(
        "## What does your LoRA cost on FLUX.2 [klein] 4B?\n\n"
        "Base (20 steps, CFG 4) and its distilled version (4 steps, CFG 1), each without and with the LoRA, with the "
        "same noise, in one table.\n\n"
        f"**Files**\n\n{listed}\n\n"
        "**Choose your LoRA** in both rows. The one that is set is made for Klein Nano and fits nothing "
        "here, so that it costs nothing either.\n\n"
        "Allow a few minutes: each model is sampled at least four times. Try *method* bypass in one of the two.\n\n"
        "**Save Conditioning** keeps the prompt: with *Load Conditioning* in place of the text encoder, the encoder's "
        "memory is out of the next measurement.",
        (0, 300),
        (340, 640),
        "Read me",
    )
    _benchmark(graph, (base, distilled), given, load_vae, [7, 20, 4.0, "euler", "simple", 180.0, 1.0])
    save = graph.add(
        "PatchbaySaveConditioning",
        (410, -10),
        (400, 220),
        ["klein-4b-prompts", "hedgehog", True],
        conditioning=given["positive"],
    )
    save.floor = 480
    return graph


WORKFLOWS = (cost_nano, cost_klein_4b)
