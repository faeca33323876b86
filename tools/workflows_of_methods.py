"""A workflow about merging a LoRA and letting it run beside the weights."""

from __future__ import annotations

import json
from typing import Any

from .workflow_graph import Graph
from .workflow_parts import DISTILLED, DUOTONE, NVFP4, compare, pictures_of_nano


def methods_nano(object_info: dict[str, Any]) -> Graph:
    """The same LoRA merged and beside the weights, and both pictures."""
    graph = Graph(object_info, "Merge or bypass a LoRA (Klein Nano)")
    unet = graph.add("UNETLoader", (0, 0), (300, 90), [DISTILLED, "default"])
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
        (0, 200),
        (300, 700),
        "Read me",
    )
    models = {}
    for column, method in enumerate(("merge", "bypass")):
        apply = graph.add(
            "PatchbayApplyLora",
            (350 + 430 * column, 0),
            (400, 780),
            [DUOTONE, 1.0, 1.0, "", method, False],
            f"Apply LoRA: {method}",
            model=unet["MODEL"],
        )
        apply.floor = 60 + 70 * column
        models[method] = apply["model"]
    graph.bend(apply, "model", (765, 14))
    compare(graph, (1502, 0), (424, 620), pictures_of_nano(graph, (1220, 0), models))
    graph.add("PatchbayShowPatches", (1502, 700), (424, 340), model=models["bypass"])
    return graph


def quantised_nano(object_info: dict[str, Any]) -> Graph:
    """One LoRA on a model as it ships and on the same model in 4 bits, there merged and by ``auto``."""
    graph = Graph(object_info, "LoRA on a quantised model (Klein Nano)")
    whole = graph.add("UNETLoader", (0, 0), (300, 90), [DISTILLED, "default"], "As it ships")
    small = graph.add("UNETLoader", (0, 100), (300, 90), [NVFP4, "default"], "In 4 bits (nvfp4)")
    graph.note(
        "## Where does the LoRA go on a 4-bit model?\n\n"
        "The same model twice: as it ships, and with its blocks stored as **nvfp4**. The same LoRA three times:\n\n"
        "1. on whole weights: the picture as it should be,\n"
        "2. *merged* into the nvfp4 weights, as every ordinary loader does it: the sum is rounded to 4 bits again, and "
        "most of what the LoRA changes drowns in that rounding,\n"
        "3. with **auto**: it measures that, and runs the LoRA alongside the weights.\n\n"
        "The report of each node says how much of the change arrives, and **Inspect Model** how each block is "
        "stored. Compare both pictures with the first: *merge* is farther from it than *auto*.\n\n"
        "On your own models: int8 and fp8 keep an ordinary LoRA, nvfp4 and w4a4 often do not. "
        "`docs/quantised.md` has the figures.",
        (0, 200),
        (300, 720),
        "Read me",
    )
    lora = json.dumps([{"on": True, "lora": DUOTONE, "strength": 1.0}])
    rows = (("whole weights", whole, "merge"), ("nvfp4, merged", small, "merge"), ("nvfp4, auto", small, "auto"))
    models = {}
    for row, (title, unet, method) in enumerate(rows):
        node = graph.add(
            "PatchbayApplyLoras", (370, 100 * row), (420, 260), [lora, method, False], title, model=unet["MODEL"]
        )
        models[title] = node["model"]
    graph.add("PatchbayInspectModel", (370, 900), (420, 400), [DUOTONE], "How it is stored", model=small["MODEL"])
    pictures = pictures_of_nano(graph, (860, 0), models)
    for row, label in enumerate(list(models)[1:]):
        graph.add(
            "PatchbayCompareImages",
            (1200, 100 * row),
            (700, 500),
            ["whole weights", label, 4.0],
            image_a=pictures["whole weights"],
            image_b=pictures[label],
        )
    return graph


WORKFLOWS = (methods_nano, quantised_nano)
