"""Workflows about one LoRA: saved with its strengths, and applied for some of the steps."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_parts import BASE, DISTILLED, DUOTONE, PROMPT, PROMPTS, compare, pictures_of_nano

_BLOCKS = "double_blocks.*=0.5, single_blocks.2-3.attn=0"


def save_nano(object_info: dict[str, Any]) -> Graph:
    """Apply by block, and the same strengths baked into a file."""
    graph = Graph(object_info, "Save a LoRA with its block strengths (Klein Nano)")
    unet = graph.add("UNETLoader", (0, 0), (300, 90), [DISTILLED, "default"])
    graph.note(
        "## From strengths to a file\n\n"
        "**Apply LoRA** shows what a LoRA does with one strength for each block. **Save LoRA** has the same strengths "
        "and writes them into a new file in `models/loras`, once for each change of its inputs.\n\n"
        "Load that file with *any* loader at strength 1: the picture is the same. Try it with ComfyUI's own *Load "
        "LoRA*; press **R** first, so that ComfyUI lists the new file.\n\n"
        "The lower **Save LoRA** also halves the rank: its report gives the error of every layer.\n\n"
        "Tensors that a strength does not touch stay as they are, bit for bit. Formats that cannot hold a strength "
        "(OFT, BOFT, DoRA) are refused until you choose a conversion.\n\n"
        "For a model with blocks inserted or removed, *block_map* of both nodes puts every block of the LoRA on its "
        "own counterpart.",
        (0, 200),
        (300, 620),
        "Read me",
    )
    values = [DUOTONE, 1.0, 1.0, _BLOCKS]
    apply = graph.add("PatchbayApplyLora", (350, 0), (420, 780), [*values, "auto", False], model=unet["MODEL"])
    apply.floor = 140
    pictures = pictures_of_nano(graph, (870, 1000), {"picture": apply["model"]})
    graph.add("PreviewImage", (1190, 1000), (380, 380), images=pictures["picture"])
    files = (("Save LoRA", "baked", 0), ("Save at half the rank", "baked-half", 4))
    for column, (title, name, rank) in enumerate(files):
        file = [f"patchbay/{name}", "never", rank, 1.0, "as in the file", "as in the file", True]
        save = graph.add(
            "PatchbaySaveLora", (870 + column * 520, 0), (460, 780), [*values, *file], title, model=unet["MODEL"]
        )
        save.floor = 60 - 60 * column
    return graph


def schedule_nano(object_info: dict[str, Any]) -> Graph:
    """The same LoRA in the first and in the last steps of four."""
    graph = Graph(object_info, "LoRA for some of the steps (Klein Nano)")
    unet = graph.add("UNETLoader", (0, 0), (300, 90), [DISTILLED, "default"])
    prompt, empty = (
        graph.add("PatchbayLoadConditioning", (0, 100 + 100 * row), (300, 130), [PROMPTS, name], title)["conditioning"]
        for row, (name, title) in enumerate(((PROMPT, "Prompt"), ("empty", "Empty prompt")))
    )
    graph.note(
        "## When does a LoRA matter?\n\n"
        "The same LoRA on the same noise, four steps: once only in the **first two**, once "
        "only in the **last two**. **Compare Images** shows both.\n\n"
        "**Schedule LoRA** leaves the model alone: the conditioning carries the LoRA, and ComfyUI changes the weights "
        "between the steps. Connect *positive* and *negative*.\n\n"
        "```\nstep 0: all=1        from the first step on\nstep 2: all=0        off from the third step on\n```\n\n"
        "Percents work too (`0%: ...`, `50%: ...`); they count noise levels, as everywhere in ComfyUI. After a "
        "position stand block strengths as in Apply LoRA: `step 2: double_blocks.*=0`. Set *transition* to **linear** "
        "to fade from one moment to the next.",
        (0, 300),
        (300, 480),
        "Read me",
    )
    courses = {}
    for row, (name, schedule) in enumerate(
        (("first two steps", "step 0: all=1\nstep 2: all=0"), ("last two steps", "step 0: all=0\nstep 2: all=1"))
    ):
        lora = graph.add(
            "PatchbayScheduleLora",
            (410, 900 * row),
            (400, 800),
            [DUOTONE, 1.0, 1.0, "", schedule, 0.0, 1.0, "jump"],
            f"In the {name}",
            model=unet["MODEL"],
            positive=prompt,
            negative=empty,
        )
        lora.floor = 60
        courses[name] = (lora["positive"], lora["negative"])
    models = dict.fromkeys(courses, unet["MODEL"])
    compare(graph, (1240, 0), (680, 760), pictures_of_nano(graph, (930, 0), models, conditioned=courses))
    return graph


def merge_nano(object_info: dict[str, Any]) -> Graph:
    """Three LoRAs one after the other, and the same three as one file."""
    graph = Graph(object_info, "Merge three LoRAs into one (Klein Nano)")
    stack: dict[str, Any] = {}
    for column, (name, strength, blocks) in enumerate(_THREE):
        node = graph.add(
            "PatchbayStackLora", (310 * column, 0), (280, 210), [name, strength, 1.0, blocks], **stack
        )
        stack = {"lora_stack": node["lora_stack"]}
    graph.note(
        "## Three LoRAs, one file\n\n"
        "The stack holds three LoRAs with strengths of their own. **Apply LoRA Stack** applies them one after the "
        "other; **Merge LoRAs** writes the same into one file in `models/loras`.\n\n"
        "Load that file with *any* loader at strength 1: the picture is the same. Press **R** first, so that ComfyUI "
        "lists the new file.\n\n"
        "Their factors are put side by side, so the ranks add up and nothing is lost. Set *energy* to 0.95 and 95 % "
        "of each layer's squared norm is kept instead: a smaller file, and the report gives the error.\n\n"
        "The files may name layers differently and be of different formats (LoRA, LoHa, LoKr, whole differences, "
        "DoRA): the model says what is the same layer.\n\n"
        "**Inspect File** compares two LoRAs block by block before you merge them: files of one direction add up, "
        "opposite ones cancel. It also shows what rank the file needs, and saves a smaller copy.",
        (0, 300),
        (590, 520),
        "Read me",
    )
    unet = graph.add("UNETLoader", (620, 300), (280, 90), [DISTILLED, "default"])
    apply = graph.add("PatchbayApplyLoraStack", (960, 0), (420, 560), _STACK, model=unet["MODEL"], **stack)
    pictures = pictures_of_nano(graph, (1430, 0), {"picture": apply["model"]})
    graph.add("PreviewImage", (1715, 0), (210, 240), images=pictures["picture"])
    file = ["", "patchbay/merged", 0, 1.0, "as in the file", True]
    graph.add("PatchbayMergeLoras", (960, 700), (440, 640), file, model=unet["MODEL"], **stack)
    values = ["LoRA", DUOTONE, True, False, "klein-nano-duotone-distilled.safetensors"]
    two = graph.add("PatchbayInspectFile", (1430, 300), (500, 900), values, "Two LoRAs", model=unet["MODEL"])
    graph.bend(two, "model", (930, 620), (1405, 620))
    return graph


def inside_nano(object_info: dict[str, Any]) -> Graph:
    """Which LoRAs are in a model, and how strong."""
    graph = Graph(object_info, "What is inside this merge (Klein Nano)")
    unet = graph.add("UNETLoader", (0, 0), (300, 90), [BASE, "default"])
    merged = unet["MODEL"]
    for column, (name, strength) in enumerate(((DUOTONE, 0.8), (_THREE[1][0], -0.3))):
        loader = graph.add("LoraLoaderModelOnly", (360 + 360 * column, 0), (300, 90), [name, strength], model=merged)
        loader.floor = 90
        merged = loader["MODEL"]
    stack: dict[str, Any] = {}
    for column, (name, _, _) in enumerate(_THREE):
        node = graph.add("PatchbayStackLora", (360 * column, 300), (300, 220), [name, 1.0, 1.0, ""], **stack)
        node.floor = 300
        stack = {"lora_stack": node["lora_stack"]}
    graph.note(
        "## Which LoRAs are in this model?\n\n"
        "Two LoRAs are merged into Klein Nano by ComfyUI's own loaders, one at 0.8, one at -0.3. **Inspect Model** is "
        "given the result, the model that it was made from (*model_b*) and three candidates (*lora_stack*). It solves "
        "for their strengths, weight by weight: two are found, with the strengths that were set, one is not in it.\n\n"
        "**With a merge of your own:** load the merged checkpoint in place of the two LoRA loaders, its base model as "
        "*model_b* (or choose its file as *file_b*, which is read one weight at a time), and put the LoRAs on the "
        "stack that may be in it. Their strengths are found, not read from the stack.\n\n"
        "Under each LoRA is its strength in every block. If one was merged with strengths by block, that is what you "
        "see; write them into *blocks* of its stack node, and the verdict counts them.\n\n"
        "Weights that are stored quantised cannot be looked into: rounding has moved them more than a LoRA does.",
        (0, 600),
        (1020, 380),
        "Read me",
    )
    inside: dict[str, Any] = {"model": merged, "model_b": unet["MODEL"], **stack}
    graph.add("PatchbayInspectModel", (1100, 0), (560, 700), ["none", "none"], "What is inside", **inside)
    return graph


_STACK = ["", "merge", False]
_THREE = (
    (DUOTONE, 0.8, ""), ("klein-nano-monochrome.safetensors", -0.3, ""),
    ("klein-nano-concept-instruments.safetensors", 1.0, "double=0.5"),
)  # fmt: skip

WORKFLOWS = (save_nano, schedule_nano, merge_nano, inside_nano)
