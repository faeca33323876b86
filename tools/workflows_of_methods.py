"""A workflow about merging a LoRA and letting it run beside the weights."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_parts import DISTILLED, DUOTONE, NVFP4, PROMPT, PROMPTS, VAE, branch, sampling


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


def quantised_nano(object_info: dict[str, Any]) -> Graph:
    """One LoRA on a model as it ships and on the same model in 4 bits, there merged and by ``auto``."""
    graph = Graph(object_info, "LoRA on a quantised model (Klein Nano)")
    graph.note(
        "## Where does the LoRA go on a 4-bit model?\n\n"
        "The same model twice: as it ships, and with its blocks stored as **nvfp4**. The same LoRA three times:\n\n"
        "1. on whole weights: the picture as it should be,\n"
        "2. *merged* into the nvfp4 weights, as every ordinary loader does it: the sum is rounded to 4 bits again, and "
        "most of what the LoRA changes drowns in that rounding,\n"
        "3. with **auto**: it measures that, and runs the LoRA alongside the weights.\n\n"
        "The report of each *Apply LoRA* says how much of the change arrives, and **Inspect Model** how each block is "
        "stored. Compare both pictures with the first: *merge* is farther from it than *auto*.\n\n"
        "On your own models: int8 and fp8 keep an ordinary LoRA, nvfp4 and w4a4 often do not. "
        "`docs/quantised.md` has the figures.",
        (-420, 0),
        (380, 600),
        "Read me",
    )
    whole = graph.add("UNETLoader", (0, 0), (340, 100), [DISTILLED, "default"], "As it ships")
    small = graph.add("UNETLoader", (0, 150), (340, 100), [NVFP4, "default"], "In 4 bits (nvfp4)")
    vae = graph.add("PatchbayLoadTinyVAE", (0, 300), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 440), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 670), (340, 50), conditioning=prompt["conditioning"])
    shared = sampling(graph, 0, 790, 128, 4, 7)
    graph.add("PatchbayInspectModel", (0, 1420), (400, 560), [DUOTONE], "How it is stored", model=small["MODEL"])
    pictures = []
    rows = ((whole, "merge", "Whole weights"), (small, "merge", "nvfp4: merged"), (small, "auto", "nvfp4: auto"))
    for row, (unet, method, title) in enumerate(rows):
        y = row * 840
        values = [DUOTONE, 1.0, 1.0, "", method, False]
        apply = graph.add("PatchbayApplyLora", (460, y), (420, 1000), values, title, model=unet["MODEL"])
        texts = prompt["conditioning"], empty["CONDITIONING"]
        decode = branch(graph, shared, apply["model"], *texts, vae["vae"], 1.0, (940, y), apply)
        pictures.append(decode["IMAGE"])
    for row, label in ((1, "nvfp4, merged"), (2, "nvfp4, auto")):
        graph.add(
            "PatchbayCompareImages",
            (1840, (row - 1) * 1120),
            (760, 1000),
            ["whole weights", label, 4.0],
            image_a=pictures[0],
            image_b=pictures[row],
        )
    graph.group("Models, prompt and steps", (-20, -80, 440, 2420))
    graph.group("One LoRA, three times", (440, -80, 1320, 2420), "#8a6d3b")
    graph.group("Compared with whole weights", (1820, -80, 800, 2420), "#3b7d4f")
    return graph


WORKFLOWS = (methods_nano, quantised_nano)
