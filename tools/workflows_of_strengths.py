"""Workflows about block strengths as a value of their own, and about stacks of LoRAs."""

from __future__ import annotations

import json
from typing import Any

from .workflow_graph import Graph
from .workflow_parts import DISTILLED, DUOTONE, PROMPT, PROMPTS, VAE, branch, sampling

_INSTRUMENTS = "klein-nano-concept-instruments.safetensors"
_EXPORT = "KJNodes selected blocks, FLUX.2 Klein 4B"


def presets_and_stacks_nano(object_info: dict[str, Any]) -> Graph:
    """A preset on one LoRA, and block strengths for one LoRA of a stack."""
    graph = Graph(object_info, "Block strength presets and LoRA stacks (Klein Nano)")
    graph.note(
        "## Strengths as a value of their own\n\n"
        "**Block Strengths** makes the text that *Apply LoRA* takes as `blocks`: from a preset, from another program's "
        "block weights, and from your own items. With a model connected it spells out what each block gets.\n\n"
        "Things to try:\n\n"
        "- another preset; run again\n"
        "- import another program's weights (under *advanced*): choose the format, paste the text\n"
        "- export: the output *exported* has the strengths in another program's format, and the report lists what that "
        "format cannot say\n\n"
        "## A stack\n\n"
        "**LoRA to Stack** builds the list that many packs call *LORA_STACK*. **Apply LoRA Stack** applies such a list "
        "from any pack, with one report. Block strengths ride along on our own entries.",
        (-420, 0),
        (380, 620),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [DISTILLED, "default"])
    vae = graph.add("PatchbayLoadTinyVAE", (0, 150), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 290), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 520), (340, 50), conditioning=prompt["conditioning"])
    shared = sampling(graph, 0, 640, 128, 4, 7)
    positive, negative = prompt["conditioning"], empty["CONDITIONING"]
    model = unet["MODEL"]
    strengths = graph.add(
        "PatchbayBlockStrengths", (440, 0), (440, 900), ["Double blocks off", "", "none", "", "none"], model=model
    )
    applied = graph.add(
        "PatchbayApplyLora",
        (940, 0),
        (440, 900),
        [DUOTONE, 1.0, 1.0, "", "merge", False],
        model=model,
        blocks=strengths["blocks"],
    )
    first = graph.add(
        "PatchbayStackLora",
        (440, 1300),
        (440, 300),
        [DUOTONE, 0.8, 1.0, "double_blocks=0"],
        "Style, single blocks only",
    )
    stack = graph.add(
        "PatchbayStackLora",
        (440, 1680),
        (440, 300),
        [_INSTRUMENTS, 0.5, 1.0, ""],
        "One more LoRA",
        lora_stack=first["lora_stack"],
    )
    stacked = graph.add(
        "PatchbayApplyLoraStack",
        (940, 1300),
        (440, 600),
        ["", "merge", False],
        model=model,
        lora_stack=stack["lora_stack"],
    )
    one = branch(graph, shared, applied["model"], positive, negative, vae["vae"], 1.0, (1440, 0))
    two = branch(graph, shared, stacked["model"], positive, negative, vae["vae"], 1.0, (1440, 1300), stacked)
    graph.add(
        "PatchbayCompareImages",
        (1440, 220),
        (800, 960),
        ["preset", "stack", 4.0],
        image_a=one["IMAGE"],
        image_b=two["IMAGE"],
    )
    graph.group("Model, prompt and steps", (-20, -80, 400, 1300))
    graph.group("A preset", (420, -80, 980, 1320), "#8a6d3b")
    graph.group("A stack", (420, 1220, 980, 800), "#6b4a8a")
    graph.group("The pictures", (1420, -80, 840, 1560), "#3b7d4f")
    return graph


_ROWS = [
    {"on": True, "lora": DUOTONE, "strength": 0.8},
    {"on": True, "lora": _INSTRUMENTS, "strength": 0.6, "blocks": "double_blocks=0"},
    {"on": False, "lora": "klein-nano-monochrome.safetensors", "strength": 1.0},
]


def three_in_one_nano(object_info: dict[str, Any]) -> Graph:
    """Three LoRAs as rows of one node, beside the picture without them."""
    graph = Graph(object_info, "Three LoRAs in one node (Klein Nano)")
    graph.note(
        "## A row for each LoRA\n\n"
        "The sign of each row says before the run whether the LoRA fits the model; point at it to read how much of it "
        "lands. The strip is its strength by block: click it for the bars.\n\n"
        "Things to try:\n\n"
        "- switch the third row on and run again\n"
        "- hold Alt and click a row's box: only this one is on; once more brings the others back\n"
        "- drag a row by its handle, drag a strength to the left or right\n"
        "- paste `<lora:klein-nano-duotone:0.5>` on the node\n"
        "- click the line above the rows: the report says for each row what landed and where rows meet",
        (-420, 0),
        (380, 520),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [DISTILLED, "default"])
    vae = graph.add("PatchbayLoadTinyVAE", (0, 150), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 290), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 520), (340, 50), conditioning=prompt["conditioning"])
    shared = sampling(graph, 0, 640, 128, 4, 7)
    rows = graph.add(
        "PatchbayApplyLoras",
        (440, 0),
        (460, 200),
        [json.dumps(_ROWS), "merge", False],
        model=unet["MODEL"],
    )
    positive, negative = prompt["conditioning"], empty["CONDITIONING"]
    plain = branch(graph, shared, unet["MODEL"], positive, negative, vae["vae"], 1.0, (960, 0))
    patched = branch(graph, shared, rows["model"], positive, negative, vae["vae"], 1.0, (960, 200))
    graph.add(
        "PatchbayCompareImages",
        (960, 420),
        (800, 760),
        ["without", "with the rows", 4.0],
        image_a=plain["IMAGE"],
        image_b=patched["IMAGE"],
    )
    graph.group("Model, prompt and steps", (-20, -80, 400, 1300))
    graph.group("Three LoRAs", (420, -80, 500, 700), "#6b4a8a")
    graph.group("Without and with", (940, -80, 840, 1300), "#3b7d4f")
    return graph


WORKFLOWS = (presets_and_stacks_nano, three_in_one_nano)
