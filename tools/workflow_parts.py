"""What the bundled workflows have in common: the files of Klein Nano, and the nodes that sample and decode."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_node import Node

Output = tuple[Node, int]

BASE, DISTILLED, WIDE = (f"klein-nano-{kind}.safetensors" for kind in ("base", "distilled", "wide"))
NVFP4 = "klein-nano-distilled-nvfp4.safetensors"
PROMPTS, VAE = "klein-nano-prompts.safetensors", "klein-nano"
DUOTONE = "klein-nano-duotone.safetensors"
PROMPT = "butterfly"
BASE_STEPS, BASE_CFG = 20, 1.5


def sampling(graph: Graph, x: int, y: int, size: int, steps: int, seed: int) -> dict[str, Node]:
    """The inputs that both branches share, so that only the LoRA differs."""
    return {
        "noise": graph.add("RandomNoise", (x, y), (300, 90), [seed, "fixed"]),
        "sampler": graph.add("KSamplerSelect", (x, y + 140), (300, 70), ["euler"]),
        "sigmas": graph.add("Flux2Scheduler", (x, y + 260), (300, 130), [steps, size, size]),
        "latent": graph.add("EmptyFlux2LatentImage", (x, y + 440), (300, 130), [size, size, 1]),
    }


def branch(
    graph: Graph,
    shared: dict[str, Node],
    model: Any,
    positive: Any,
    negative: Any,
    vae: Any,
    cfg: float,
    pos: tuple[int, int],
    beside: Node | None = None,
) -> Node:
    """Guide, sample and decode one model, in one row."""
    x, y = pos
    guider = graph.add(
        "CFGGuider",
        (x, y),
        (260, 130),
        [cfg],
        beside=beside,
        model=model,
        positive=positive,
        negative=negative,
    )
    sample = graph.add(
        "SamplerCustomAdvanced",
        (x + 300, y),
        (260, 130),
        beside=guider,
        noise=shared["noise"]["NOISE"],
        guider=guider["GUIDER"],
        sampler=shared["sampler"]["SAMPLER"],
        sigmas=shared["sigmas"]["SIGMAS"],
        latent_image=shared["latent"]["LATENT"],
    )
    return graph.add("VAEDecode", (x + 600, y), (230, 60), beside=guider, samples=sample["output"], vae=vae)


def pictures_of_nano(
    graph: Graph,
    pos: tuple[int, int],
    models: dict[str, Output],
    prompt: Output | None = None,
    conditioned: dict[str, tuple[Output, Output]] | None = None,
    steps: int = 4,
    cfg: float = 1.0,
) -> Node:
    """One picture of Klein Nano for each model, all of the same noise, behind one node with outputs of these names.

    Args:
        prompt: A conditioning; without one the prompt is in there too.
        conditioned: Positive and negative conditioning for each name, where they differ.
    """
    given = dict(models) if conditioned is None else {"model": next(iter(models.values()))}
    for name, (positive, negative) in (conditioned or {}).items():
        given |= {f"{name}: positive": positive, f"{name}: negative": negative}
    if prompt is not None:
        given["prompt"] = prompt
    begin = len(graph.nodes)
    if prompt is None and conditioned is None:
        prompt = graph.add("PatchbayLoadConditioning", (0, 0), (340, 170), [PROMPTS, PROMPT])["conditioning"]
    vae = graph.add("PatchbayLoadTinyVAE", (0, 0), (300, 90), [VAE])["vae"]
    shared = sampling(graph, 0, 0, 128, steps, 7)
    if prompt is not None:
        empty = graph.add("ConditioningZeroOut", (0, 0), (260, 40), conditioning=prompt)["CONDITIONING"]
        conditioned = dict.fromkeys(models, (prompt, empty))
    made = {
        name: branch(graph, shared, model, *(conditioned or {})[name], vae, cfg, (0, 0))["IMAGE"]
        for name, model in models.items()
    }
    return graph.fold("Same noise, same steps", graph.nodes[begin:], pos, given, made)


def prompt_of_nano(graph: Graph, pos: tuple[int, int], title: str) -> Node:
    """Positive and negative conditioning, an empty latent and the VAE, behind one node."""
    begin = len(graph.nodes)
    prompt = graph.add("PatchbayLoadConditioning", (0, 0), (340, 170), [PROMPTS, PROMPT])["conditioning"]
    made = {
        "positive": prompt,
        "negative": graph.add("ConditioningZeroOut", (0, 0), (260, 40), conditioning=prompt)["CONDITIONING"],
        "latent_image": graph.add("EmptyFlux2LatentImage", (0, 0), (260, 130), [128, 128, 1])["LATENT"],
        "vae": graph.add("PatchbayLoadTinyVAE", (0, 0), (300, 90), [VAE])["vae"],
    }
    return graph.fold(title, graph.nodes[begin:], pos, {}, made)


def compare(graph: Graph, pos: tuple[int, int], size: tuple[int, int], pictures: Node) -> Node:
    """The two pictures of a node that draws them, side by side."""
    labels = [slot["name"] for slot in pictures.outputs]
    images: dict[str, Any] = {"image_a": pictures[labels[0]], "image_b": pictures[labels[1]]}
    return graph.add("PatchbayCompareImages", pos, size, [*labels, 4.0], **images)
