"""Workflows about one LoRA: saved with its strengths, and applied for some of the steps."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph
from .workflow_parts import BASE, DISTILLED, DUOTONE, PROMPT, PROMPTS, VAE, branch, sampling

_BLOCKS = "double_blocks.*=0.5, single_blocks.2-3.attn=0"


def save_nano(object_info: dict[str, Any]) -> Graph:
    """Apply by block, and the same strengths baked into a file."""
    graph = Graph(object_info, "Save a LoRA with its block strengths (Klein Nano)")
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
        (-420, 0),
        (380, 520),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [DISTILLED, "default"])
    vae = graph.add("PatchbayLoadTinyVAE", (0, 150), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 290), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 520), (340, 50), conditioning=prompt["conditioning"])
    shared = sampling(graph, 0, 640, 128, 4, 7)
    values = [DUOTONE, 1.0, 1.0, _BLOCKS]
    apply = graph.add("PatchbayApplyLora", (440, 0), (420, 900), [*values, "merge", False], model=unet["MODEL"])
    decode = branch(
        graph, shared, apply["model"], prompt["conditioning"], empty["CONDITIONING"], vae["vae"], 1.0, (1480, 0)
    )
    graph.add("PreviewImage", (1480, 240), (420, 420), images=decode["IMAGE"])
    for row, (title, name, rank) in enumerate((("Save LoRA", "baked", 0), ("Save at half the rank", "baked-half", 4))):
        file = [f"patchbay/{name}", "never", rank, 1.0, "as in the file", "as in the file", True]
        graph.add("PatchbaySaveLora", (960, row * 840), (460, 780), [*values, *file], title, model=unet["MODEL"])
    graph.group("Model, prompt and steps", (-20, -80, 400, 1320))
    graph.group("What the strengths do", (420, -80, 500, 1320), "#8a6d3b")
    graph.group("The same, as files", (940, -80, 500, 1740), "#3b7d4f")
    graph.group("The picture", (1460, -80, 860, 780))
    return graph


def schedule_nano(object_info: dict[str, Any]) -> Graph:
    """The same LoRA in the first and in the last steps of four."""
    graph = Graph(object_info, "LoRA for some of the steps (Klein Nano)")
    graph.note(
        "## When does a LoRA matter?\n\n"
        "The same LoRA on the same noise, four steps: in the upper branch only in the **first two**, in the lower one "
        "only in the **last two**. **Compare Images** shows both.\n\n"
        "**Schedule LoRA** leaves the model alone: the conditioning carries the LoRA, and ComfyUI changes the weights "
        "between the steps. Connect *positive* and *negative*.\n\n"
        "```\nstep 0: all=1        from the first step on\nstep 2: all=0        off from the third step on\n```\n\n"
        "Percents work too (`0%: ...`, `50%: ...`); they count noise levels, as everywhere in ComfyUI. After a "
        "position stand block strengths as in Apply LoRA: `step 2: double_blocks.*=0`. Set *transition* to **linear** "
        "to fade from one moment to the next.",
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
    for row, (title, schedule) in enumerate(
        (
            ("In the first two steps", "step 0: all=1\nstep 2: all=0"),
            ("In the last two", "step 0: all=0\nstep 2: all=1"),
        )
    ):
        y = row * 900
        lora = graph.add(
            "PatchbayScheduleLora",
            (440, y),
            (440, 840),
            [DUOTONE, 1.0, 1.0, "", schedule, 0.0, 1.0, "jump"],
            title,
            model=unet["MODEL"],
            positive=prompt["conditioning"],
            negative=empty["CONDITIONING"],
        )
        decode = branch(
            graph, shared, unet["MODEL"], lora["positive"], lora["negative"], vae["vae"], 1.0, (940, y), lora
        )
        pictures.append(decode["IMAGE"])
    graph.add(
        "PatchbayCompareImages",
        (940, 220),
        (800, 600),
        ["first two steps", "last two steps", 4.0],
        image_a=pictures[0],
        image_b=pictures[1],
    )
    graph.group("Model, prompt and steps", (-20, -80, 400, 1320))
    graph.group("One LoRA, two courses", (420, -80, 480, 1860), "#8a6d3b")
    graph.group("First against last", (920, -80, 860, 1160), "#3b7d4f")
    return graph


def merge_nano(object_info: dict[str, Any]) -> Graph:
    """Three LoRAs one after the other, and the same three as one file."""
    graph = Graph(object_info, "Merge three LoRAs into one (Klein Nano)")
    graph.note(
        "## Three LoRAs, one file\n\n"
        "The stack holds three LoRAs with strengths of their own. **Apply LoRA Stack** applies them one after the "
        "other; **Merge LoRAs** writes the same into one file in `models/loras`.\n\n"
        "Load that file with *any* loader at strength 1: the picture is the same. Press **R** first, so that ComfyUI "
        "lists the new file.\n\n"
        "Their factors are put side by side, so the ranks add up and nothing is lost. The lower node keeps 95 % of "
        "each layer's squared norm instead: a smaller file, and its report gives the error.\n\n"
        "The files may name layers differently and be of different formats (LoRA, LoHa, LoKr, whole differences, "
        "DoRA): the model says what is the same layer.",
        (-420, 0),
        (380, 520),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [DISTILLED, "default"])
    vae = graph.add("PatchbayLoadTinyVAE", (0, 150), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 290), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 520), (340, 50), conditioning=prompt["conditioning"])
    shared = sampling(graph, 0, 640, 128, 4, 7)
    stack: dict[str, Any] = {}
    for row, (name, strength, blocks) in enumerate(_THREE):
        node = graph.add("PatchbayStackLora", (440, row * 300), (420, 260), [name, strength, 1.0, blocks], **stack)
        stack = {"lora_stack": node["lora_stack"]}
    apply = graph.add("PatchbayApplyLoraStack", (960, 0), (420, 620), _STACK, model=unet["MODEL"], **stack)
    decode = branch(
        graph, shared, apply["model"], prompt["conditioning"], empty["CONDITIONING"], vae["vae"], 1.0, (1480, 0)
    )
    graph.add("PreviewImage", (1480, 240), (420, 420), images=decode["IMAGE"])
    for row, (title, name, energy) in enumerate((("Merge LoRAs", "merged", 1.0), ("Smaller", "merged-small", 0.95))):
        file = ["", f"patchbay/{name}", 0, energy, "as in the file", True]
        graph.add("PatchbayMergeLoras", (960, 700 + row * 700), (440, 640), file, title, model=unet["MODEL"], **stack)
    graph.group("Model, prompt and steps", (-20, -80, 400, 1320))
    graph.group("Three LoRAs", (420, -80, 460, 1000), "#8a6d3b")
    graph.group("Together, and as files", (940, -80, 480, 2200), "#3b7d4f")
    graph.group("The picture", (1460, -80, 860, 780))
    return graph


def inside_nano(object_info: dict[str, Any]) -> Graph:
    """Two LoRAs merged by ComfyUI's own loaders, and three candidates looked for."""
    graph = Graph(object_info, "What is inside this merge (Klein Nano)")
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
        (-420, 0),
        (380, 620),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [BASE, "default"])
    one = graph.add("LoraLoaderModelOnly", (0, 170), (340, 100), [DUOTONE, 0.8], model=unet["MODEL"])
    two = graph.add("LoraLoaderModelOnly", (0, 340), (340, 100), [_THREE[1][0], -0.3], model=one["MODEL"])
    stack: dict[str, Any] = {}
    for row, (name, _, _) in enumerate(_THREE):
        node = graph.add("PatchbayStackLora", (420, row * 300), (420, 260), [name, 1.0, 1.0, ""], **stack)
        stack = {"lora_stack": node["lora_stack"]}
    graph.add("PatchbayInspectModel", (920, 0), (560, 840), ["none", "none"], "What is inside",
              model=two["MODEL"], model_b=unet["MODEL"], **stack)  # fmt: skip
    graph.group("The merge", (-20, -80, 400, 600))
    graph.group("Candidates", (400, -80, 460, 1000), "#8a6d3b")
    graph.group("What is inside", (900, -80, 600, 1000), "#3b7d4f")
    return graph


_STACK = ["", "merge", False]
_THREE = (
    (DUOTONE, 0.8, ""), ("klein-nano-monochrome.safetensors", -0.3, ""),
    ("klein-nano-concept-instruments.safetensors", 1.0, "double=0.5"),
)  # fmt: skip

WORKFLOWS = (save_nano, schedule_nano, merge_nano, inside_nano)
