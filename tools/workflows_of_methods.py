"""A workflow about merging a LoRA and letting it run beside the weights."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_parts import DISTILLED, DUOTONE, PROMPT, PROMPTS, VAE, branch, sampling


def methods_nano(object_info: dict[str, Any]) -> Graph:
    """The same LoRA merged and beside the weights, and both pictures."""
    graph = Graph(object_info, "Merge or bypass a LoRA (Klein Nano)")
    graph.note(
        "## Two ways to the same picture\n\n"
        "**merge** adds the LoRA to the weights: sampling steps cost nothing extra, but a changed strength stages the "
        "weights again.\n\n"
        "**bypass** leaves the weights alone and adds what the LoRA does while the model runs: a changed strength "
        "costs nothing, every step a little. On *quantised* models (fp8, nvfp4, GGUF) nothing is rounded again.\n\n"
        "**auto**, the default, merges into whole weights and goes alongside quantised ones in which rounding would "
        "drown the LoRA. **cheapest** takes the cheaper one and says why.\n\n"
        "Change both strengths and run again. **Compare Images** shows that the two stay the same up to rounding, and "
        "**Show Patches** lists what is computed alongside the weights.",
        (-420, 0),
        (380, 520),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [DISTILLED, "default"])
    vae = graph.add("PatchbayLoadTinyVAE", (0, 150), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 290), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 520), (340, 50), conditioning=prompt["conditioning"])
    shared = sampling(graph, 0, 640, 128, 4, 7)
    pictures = []
    for row, method in enumerate(("merge", "bypass")):
        y = row * 1280
        values = [DUOTONE, 1.0, 1.0, "", method, False]
        apply = graph.add(
            "PatchbayApplyLora", (440, y), (420, 900), values, f"Apply LoRA: {method}", model=unet["MODEL"]
        )
        model = apply["model"]
        if method == "bypass":
            model = graph.add("PatchbayShowPatches", (440, y + 1240), (420, 480), model=model)["model"]
        decode = branch(
            graph, shared, model, prompt["conditioning"], empty["CONDITIONING"], vae["vae"], 1.0, (920, y), apply
        )
        pictures.append(decode["IMAGE"])
    graph.add(
        "PatchbayCompareImages",
        (920, 220),
        (800, 600),
        ["merge", "bypass", 4.0],
        image_a=pictures[0],
        image_b=pictures[1],
    )
    graph.group("Model, prompt and steps", (-20, -80, 400, 1320))
    graph.group("One LoRA, two methods", (420, -80, 460, 3000), "#8a6d3b")
    graph.group("Merged against beside the weights", (900, -80, 880, 2000), "#3b7d4f")
    return graph


WORKFLOWS = (methods_nano,)
