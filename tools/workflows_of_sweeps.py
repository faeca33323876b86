"""Workflows that find out which blocks of a LoRA make the picture."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_node import Node
from .workflow_parts import DISTILLED, DUOTONE, PROMPT, PROMPTS, VAE, branch, compare, sampling
from .workflows_of_transfer import FLUX2_FILES, KLEIN_PROMPTS, joined_prompts

_VAE_FILES = "https://huggingface.co/Comfy-Org/flux2-dev/resolve/main/split_files/vae"
SEEN = ("rocket", "pizza", "owl")
"""What the sweep looks at; the pictures beside it are of another prompt."""


def _sweep(graph: Graph, model: Any, given: Node, settings: list[Any]) -> Node:
    return graph.add(
        "PatchbayBlockSweep", (400, 0), (620, 1400), [DUOTONE, *settings], model=model,
        **given.by_name(),
    )  # fmt: skip


def _settings(seeds: int, steps: int, mode: str, budget: float) -> list[Any]:
    return [7, seeds, steps, 1.0, "euler", "simple", mode, "block", 0.1, budget, 1.0, "", "auto", True, True]


def sweep_nano(object_info: dict[str, Any]) -> Graph:
    """A knock-out of the duotone LoRA, and its result on a prompt that the sweep has not seen."""
    graph = Graph(object_info, "Which blocks matter (Klein Nano)")
    unet = graph.add("UNETLoader", (0, 0), (340, 90), [DISTILLED, "default"])
    begin = len(graph.nodes)
    loaded = [
        graph.add("PatchbayLoadConditioning", (0, 0), (340, 170), [PROMPTS, name])["conditioning"] for name in SEEN
    ]
    made = {
        "positive": joined_prompts(graph, loaded),
        "negative": graph.add("PatchbayLoadConditioning", (0, 0), (340, 170), [PROMPTS, "empty"])["conditioning"],
        "latent_image": graph.add("EmptyFlux2LatentImage", (0, 0), (260, 130), [128, 128, 1])["LATENT"],
        "vae": graph.add("PatchbayLoadTinyVAE", (0, 0), (300, 90), [VAE])["vae"],
    }
    given = graph.fold("Prompts and size", graph.nodes[begin:], (0, 100), {}, made)
    graph.note(
        "## Which blocks carry the style?\n\n"
        "**Block Sweep** leaves out one block of the LoRA at a time, with the same prompts and the same noise, and "
        "measures how much of the LoRA's effect is missed. Then it leaves out everything that does not matter, all "
        "at once, and checks that too. About a minute on any computer.\n\n"
        "The bars show it, and below them what the *weights* would have said (the LoRA's energy) and what the model's "
        "features say. They do not agree: most of the energy lies in one block, most of the effect in the layers "
        "outside of all blocks.\n\n"
        "The text goes straight into **Apply LoRA**; the two pictures are of a prompt that the sweep has not seen.\n\n"
        "Things to try:\n\n"
        "- *mode* `search`: the fewest blocks\n"
        "- *units* `block and part`: attention and MLP apart\n"
        "- another LoRA",
        (0, 200),
        (340, 640),
        "Read me",
    )
    sweep = _sweep(graph, unet["MODEL"], given, _settings(1, 4, "knock-out", 300.0))
    kept = graph.add(
        "PatchbayApplyLora", (1080, 0), (420, 780), [DUOTONE, 1.0, 1.0, "", "auto", False], "The blocks that matter",
        model=unet["MODEL"], blocks=sweep["blocks"],
    )  # fmt: skip
    sweep.floor = kept.floor = 60
    graph.bend(kept, "model", (1050, 14))
    graph.add("PreviewImage", (1080, 100), (800, 420), title="All pictures", images=sweep["sheet"])
    compare(graph, (1960, 0), (640, 620), _pictures(graph, unet["MODEL"], kept["model"]))
    return graph


def _pictures(graph: Graph, model: Any, kept: Any) -> Node:
    """The whole LoRA and the blocks that matter, on a prompt that the sweep has not seen, behind one node."""
    begin = len(graph.nodes)
    whole = graph.add("LoraLoaderModelOnly", (0, 0), (320, 110), [DUOTONE, 1.0], "The whole LoRA", model=model)
    prompt = graph.add("PatchbayLoadConditioning", (0, 0), (340, 170), [PROMPTS, PROMPT])["conditioning"]
    empty = graph.add("ConditioningZeroOut", (0, 0), (260, 40), conditioning=prompt)["CONDITIONING"]
    vae = graph.add("PatchbayLoadTinyVAE", (0, 0), (300, 90), [VAE])["vae"]
    shared = sampling(graph, 0, 0, 128, 4, 21)
    made = {
        name: branch(graph, shared, each, prompt, empty, vae, 1.0, (0, 0))["IMAGE"]
        for name, each in (("whole LoRA", whole["MODEL"]), ("blocks that matter", kept))
    }
    given = {"model": model, "kept": kept}
    return graph.fold("Same noise, same steps", graph.nodes[begin:], (1560, 0), given, made)


def sweep_klein_4b(object_info: dict[str, Any]) -> Graph:
    """A search on FLUX.2 Klein 4B distilled with a LoRA of the user's own."""
    graph = Graph(object_info, "FLUX.2 Klein 4B - which blocks matter")
    files = {
        "unet": ("flux-2-klein-4b.safetensors", f"{FLUX2_FILES}/diffusion_models", "diffusion_models"),
        "clip": ("qwen_3_4b.safetensors", f"{FLUX2_FILES}/text_encoders", "text_encoders"),
        "vae": ("flux2-vae.safetensors", _VAE_FILES, "vae"),
    }
    links = {k: [{"name": n, "url": f"{u}/{n}", "directory": d}] for k, (n, u, d) in files.items()}
    listed = "\n".join(f"- [{name}]({url}/{name}) in `models/{folder}`" for name, url, folder in files.values())
    unet = graph.add("UNETLoader", (0, 0), (340, 90), [files["unet"][0], "default"], models=links["unet"])
    begin = len(graph.nodes)
    clip = graph.add("CLIPLoader", (0, 0), (340, 130), [files["clip"][0], "flux2", "default"], models=links["clip"])
    texts = [
        graph.add("CLIPTextEncode", (0, 0), (360, 130), [text], clip=clip["CLIP"])["CONDITIONING"]
        for text in KLEIN_PROMPTS
    ]
    made = {
        "positive": joined_prompts(graph, texts),
        "negative": graph.add("ConditioningZeroOut", (0, 0), (340, 50), conditioning=texts[0])["CONDITIONING"],
        "latent_image": graph.add("EmptyFlux2LatentImage", (0, 0), (340, 130), [1024, 1024, 1])["LATENT"],
        "vae": graph.add("VAELoader", (0, 0), (340, 80), [files["vae"][0]], models=links["vae"])["VAE"],
    }
    given = graph.fold("Prompts and size", graph.nodes[begin:], (0, 100), {}, made)
    graph.note(
        "## Which blocks of your LoRA matter?\n\n"
        f"Needs\n\n{listed}\n\n"
        "1. Choose your LoRA in **Block Sweep**; the one that is set is made for Klein Nano and does not fit.\n"
        "2. Write prompts of the kind that you use it for: double-click *Prompts and size*.\n"
        "3. Press **Run**. *search* runs fifteen to thirty sets of blocks, each with every prompt: about as long as a "
        "hundred pictures. Stop it when you like; the next run goes on from there.\n\n"
        "Bake the result with *Save LoRA*: a smaller file that does the same.",
        (0, 200),
        (340, 640),
        "Read me",
    )
    sweep = _sweep(graph, unet["MODEL"], given, _settings(1, 4, "search", 1800.0))
    graph.add("PreviewImage", (1080, 0), (800, 1000), title="All pictures", images=sweep["sheet"])
    return graph


WORKFLOWS = (sweep_nano, sweep_klein_4b)
