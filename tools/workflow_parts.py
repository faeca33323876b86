"""What the bundled workflows have in common: the files of Klein Nano, and the nodes that sample and decode."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph, Node

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
