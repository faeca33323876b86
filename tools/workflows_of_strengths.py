"""Workflows about block strengths as a value of their own, and about stacks of LoRAs."""

from __future__ import annotations

import json
from typing import Any

from .workflow_graph import Graph
from .workflow_parts import DISTILLED, DUOTONE, PROMPT, PROMPTS, compare, pictures_of_nano

_INSTRUMENTS = "klein-nano-concept-instruments.safetensors"
_EXPORT = "KJNodes selected blocks, FLUX.2 Klein 4B"


def presets_and_stacks_nano(object_info: dict[str, Any]) -> Graph:
    """A preset on one LoRA, and block strengths for one LoRA of a stack."""
    graph = Graph(object_info, "Block strength presets and LoRA stacks (Klein Nano)")
    unet = graph.add("UNETLoader", (0, 0), (300, 90), [DISTILLED, "default"])
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
        (0, 200),
        (300, 780),
        "Read me",
    )
    strengths = graph.add(
        "PatchbayBlockStrengths",
        (350, 0),
        (430, 900),
        ["Double blocks off", "", "none", "", "none"],
        model=unet["MODEL"],
    )
    strengths.floor = 130
    applied = graph.add(
        "PatchbayApplyLora",
        (840, 0),
        (400, 780),
        [DUOTONE, 1.0, 1.0, "", "auto", False],
        model=unet["MODEL"],
        blocks=strengths["blocks"],
    )
    applied.floor = 60
    models = {"whole model": unet["MODEL"], "preset": applied["model"]}
    compare(graph, (1572, 0), (356, 760), pictures_of_nano(graph, (1290, 0), models))
    again = graph.add("UNETLoader", (0, 1200), (300, 90), [DISTILLED, "default"])
    first = graph.add(
        "PatchbayStackLora",
        (350, 1200),
        (300, 220),
        [DUOTONE, 0.8, 1.0, "double_blocks=0"],
        "Style, single blocks only",
    )
    stack = graph.add(
        "PatchbayStackLora",
        (690, 1200),
        (300, 220),
        [_INSTRUMENTS, 0.5, 1.0, ""],
        "One more LoRA",
        lora_stack=first["lora_stack"],
    )
    stacked = graph.add(
        "PatchbayApplyLoraStack",
        (1050, 1200),
        (420, 560),
        ["", "merge", False],
        model=again["MODEL"],
        lora_stack=stack["lora_stack"],
    )
    first.floor = stack.floor = 1300
    again.floor = stacked.floor = 1200
    second = pictures_of_nano(graph, (1530, 1200), {"stack": stacked["model"]})
    second.floor = 1200
    graph.add("PreviewImage", (1850, 1200), (380, 380), images=second["stack"]).floor = 1200
    return graph


_ROWS = [
    {"on": True, "lora": DUOTONE, "strength": 0.8},
    {"on": True, "lora": _INSTRUMENTS, "strength": 0.6, "blocks": "double_blocks=0"},
    {"on": False, "lora": "klein-nano-monochrome.safetensors", "strength": 1.0},
]


def three_in_one_nano(object_info: dict[str, Any]) -> Graph:
    """Three LoRAs as rows of one node, beside the picture without them."""
    graph = Graph(object_info, "Three LoRAs in one node (Klein Nano)")
    unet = graph.add("UNETLoader", (0, 0), (340, 90), [DISTILLED, "default"])
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
        (0, 200),
        (340, 560),
        "Read me",
    )
    prompt = graph.add("PatchbayLoadConditioning", (400, 0), (460, 120), [PROMPTS, PROMPT])
    prompt.floor = 60
    rows = graph.add(
        "PatchbayApplyLoras",
        (400, 200),
        (460, 200),
        [json.dumps(_ROWS), "auto", False],
        model=unet["MODEL"],
    )
    models = {"without": unet["MODEL"], "with the rows": rows["model"]}
    compare(graph, (1240, 0), (680, 760), pictures_of_nano(graph, (920, 0), models, prompt["conditioning"]))
    return graph


WORKFLOWS = (presets_and_stacks_nano, three_in_one_nano)
