"""Write the bundled workflows: ``python -m tools.make_workflows OBJECT_INFO.json [WORD...]``.

With words, only the workflows with one of them in their name.

``OBJECT_INFO.json`` is what a running ComfyUI with the pack answers at ``/object_info``; node slots come from there.
The texts and the layout are here, so that a changed node needs no hand-mended JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .workflow_graph import Graph
from .workflow_parts import (
    BASE,
    BASE_CFG,
    BASE_STEPS,
    DISTILLED,
    DUOTONE,
    PROMPT,
    PROMPTS,
    VAE,
    WIDE,
    branch,
    sampling,
)
from .workflows_of_grids import WORKFLOWS as of_grids  # noqa: N811
from .workflows_of_loras import WORKFLOWS as of_loras  # noqa: N811
from .workflows_of_measuring import WORKFLOWS as of_measuring  # noqa: N811
from .workflows_of_methods import WORKFLOWS as of_methods  # noqa: N811
from .workflows_of_strengths import WORKFLOWS as of_strengths  # noqa: N811
from .workflows_of_transfer import WORKFLOWS as of_transfer  # noqa: N811

FOLDER = Path(__file__).resolve().parents[1] / "workflows"
PLAIN_APPLY = [DUOTONE, 1.0, 1.0, "", "merge", False]
COMFY_ORG = "https://huggingface.co/Comfy-Org"
FLUX2_FILES = f"{COMFY_ORG}/flux2-klein/resolve/main/split_files"


def main() -> None:
    object_info = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    words = sys.argv[2:]
    for make in (
        compare_nano,
        by_block_nano,
        fits_nano,
        compare_klein_4b,
        *of_grids,
        *of_loras,
        *of_measuring,
        *of_methods,
        *of_strengths,
        *of_transfer,
    ):
        graph = make(object_info)
        if not words or any(word in graph.name for word in words):
            print(graph.write(FOLDER).name)


def compare_nano(object_info: dict[str, Any]) -> Graph:
    graph = Graph(object_info, "Compare with and without a LoRA (Klein Nano)")
    graph.note(
        "## What does this LoRA do?\n\n"
        "The same prompt, the same noise, the same steps: once without the LoRA, once with it. "
        "Press **Run**; it takes a few seconds on any computer, because *Klein Nano* is a real but tiny "
        "FLUX.2 model that comes with LoRA Patchbay.\n\n"
        "1. **Inspect File** says what is in the LoRA, without loading it.\n"
        "2. **Apply LoRA** patches the model and reports every layer, with the reason for each that does not fit.\n"
        "3. **Show Patches** reads back what is really patched.\n"
        "4. **Compare Images** shows both pictures: side by side, with a slider, or their difference.\n\n"
        "Things to try: another prompt (the names are listed by *Load Conditioning*), strength 0.5 or -1, "
        f"another LoRA, or `{WIDE}` as the model: it has other sizes, and the report says why nothing fits.\n\n"
        "No text encoder is needed: the prompts are stored as ready conditioning.",
        (-420, 0),
        (380, 520),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [BASE, "default"])
    vae = graph.add("PatchbayLoadTinyVAE", (0, 150), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 290), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 520), (340, 50), conditioning=prompt["conditioning"])
    graph.add("PatchbayInspectFile", (0, 780), (400, 440), ["LoRA", DUOTONE, True, False])
    apply = graph.add("PatchbayApplyLora", (440, 0), (420, 900), PLAIN_APPLY, model=unet["MODEL"])
    show = graph.add("PatchbayShowPatches", (440, 780), (420, 440), model=apply["model"])
    shared = sampling(graph, 900, 0, 128, BASE_STEPS, 7)
    positive, negative = prompt["conditioning"], empty["CONDITIONING"]
    plain = branch(graph, shared, unet["MODEL"], positive, negative, vae["vae"], BASE_CFG, (1260, 0))
    patched = branch(graph, shared, show["model"], positive, negative, vae["vae"], BASE_CFG, (1260, 200))
    graph.add(
        "PatchbayCompareImages",
        (1260, 420),
        (800, 800),
        ["without LoRA", "with LoRA", 4.0],
        image_a=plain["IMAGE"],
        image_b=patched["IMAGE"],
    )
    graph.group("1  Model, prompt and file", (-20, -80, 440, 1320))
    graph.group("2  The LoRA", (425, -80, 435, 1320), "#8a6d3b")
    graph.group("3  Same noise, same steps", (880, -80, 340, 1320))
    graph.group("4  Without and with", (1240, -80, 840, 1320), "#3b7d4f")
    return graph


def by_block_nano(object_info: dict[str, Any]) -> Graph:
    graph = Graph(object_info, "LoRA by block (Klein Nano)")
    graph.note(
        "## Which blocks carry the style?\n\n"
        "Two copies of the same LoRA: the upper one changes only the **double** blocks, the lower one only the "
        "**single** blocks. The left picture of each comparison is the whole LoRA.\n\n"
        "The text in *blocks* is read from left to right, the later item wins:\n\n"
        "```\nall=0                    everything off\nsingle_blocks.*=1        all single blocks on\n"
        "single_blocks.0-2=0.5    a range\nsingle_blocks.3.attn=0   one part of one block\n"
        "double_blocks.*.txt=0    the text stream\n```\n\n"
        "Indices count from 0. A block that the model does not have is an error that says what it has.",
        (-420, 0),
        (380, 480),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (340, 100), [DISTILLED, "default"])
    vae = graph.add("PatchbayLoadTinyVAE", (0, 150), (340, 80), [VAE])
    prompt = graph.add("PatchbayLoadConditioning", (0, 290), (340, 170), [PROMPTS, PROMPT])
    empty = graph.add("ConditioningZeroOut", (0, 520), (340, 50), conditioning=prompt["conditioning"])
    shared = sampling(graph, 0, 640, 128, 4, 7)
    positive, negative = prompt["conditioning"], empty["CONDITIONING"]
    pictures = []
    for row, (title, blocks) in enumerate(
        (
            ("The whole LoRA", ""),
            ("Only the double blocks", "all=0, double_blocks.*=1"),
            ("Only the single blocks", "all=0, single_blocks.*=1"),
        )
    ):
        y = row * 740
        apply = graph.add(
            "PatchbayApplyLora",
            (440, y),
            (420, 900),
            [DUOTONE, 1.0, 1.0, blocks, "merge", False],
            title,
            model=unet["MODEL"],
        )
        decode = branch(graph, shared, apply["model"], positive, negative, vae["vae"], 1.0, (920, y), apply)
        pictures.append(decode["IMAGE"])
    for row, label in ((1, "only double blocks"), (2, "only single blocks")):
        graph.add(
            "PatchbayCompareImages",
            (1820, (row - 1) * 1120),
            (760, 1000),
            ["whole LoRA", label, 4.0],
            image_a=pictures[0],
            image_b=pictures[row],
        )
    graph.group("Model, prompt and steps", (-20, -80, 400, 2260))
    graph.group("One LoRA, three block strengths", (420, -80, 1320, 2260), "#8a6d3b")
    graph.group("Compared with the whole LoRA", (1800, -80, 800, 2260), "#3b7d4f")
    return graph


def fits_nano(object_info: dict[str, Any]) -> Graph:
    graph = Graph(object_info, "Does this LoRA fit (Klein Nano)")
    graph.note(
        "## Does it fit, before anything runs?\n\n"
        "The same LoRA is checked against the model that it was trained on and against one of another size. "
        "Nothing is sampled: **Check LoRA** compares every layer of the file with the real weights and says what "
        "lands, what does not, and why, for Apply LoRA and for ComfyUI's own loader.\n\n"
        "Set *when_unfit* to **stop the run** and put the node beside your sampler: a LoRA for the wrong model then "
        "stops the run with the reason, instead of a picture in which it did nothing.\n\n"
        "**Inspect Model** compares the base with its 4-step distilled version, block by block: how far distillation "
        "moved the weights, and how far it moved the directions that this LoRA edits (an indicator, not a verdict). "
        "The second model is named as *file_b* and read weight by weight, so that only one model has to fit in memory; "
        "a model that is loaded anyway can be connected to *model_b* instead.",
        (-420, 0),
        (380, 560),
        "Read me",
    )
    base, wide = (
        graph.add("UNETLoader", (0, row * 160), (340, 100), [name, "default"]) for row, name in enumerate((BASE, WIDE))
    )
    for column, (model, title) in enumerate(((base, "On its own model"), (wide, "On a wider model"))):
        graph.add(
            "PatchbayCheckLora",
            (420 + column * 520, 0),
            (480, 540),
            [DUOTONE, "report only"],
            title,
            model=model["MODEL"],
        )
    graph.add(
        "PatchbayInspectModel",
        (1480, 0),
        (520, 540),
        [DUOTONE, DISTILLED],
        "Base and distilled",
        model=base["MODEL"],
    )
    graph.group("Models", (-20, -80, 380, 660))
    graph.group("Does it fit?", (400, -80, 1040, 660), "#8a6d3b")
    graph.group("What did distillation move?", (1460, -80, 560, 660), "#3b7d4f")
    return graph


def compare_klein_4b(object_info: dict[str, Any]) -> Graph:
    graph = Graph(object_info, "Compare with and without a LoRA (FLUX.2 Klein 4B distilled)")
    models = {
        "unet": ("flux-2-klein-4b.safetensors", f"{FLUX2_FILES}/diffusion_models", "diffusion_models"),
        "clip": ("qwen_3_4b.safetensors", f"{FLUX2_FILES}/text_encoders", "text_encoders"),
        "vae": ("flux2-vae.safetensors", f"{COMFY_ORG}/flux2-dev/resolve/main/split_files/vae", "vae"),
    }
    links = {
        key: [{"name": name, "url": f"{url}/{name}", "directory": folder}]
        for key, (name, url, folder) in models.items()
    }
    listed = "\n".join(f"- [{name}]({url}/{name}) in `models/{folder}`" for name, url, folder in models.values())
    graph.note(
        "## With and without your LoRA, on FLUX.2 [klein] 4B\n\n"
        "Same prompt, same noise, 4 steps at CFG 1 as the distilled model wants it.\n\n"
        f"**Files**\n\n{listed}\n\n"
        "**Choose your LoRA** in *Apply LoRA*. The one that is set is made for Klein Nano: if you run it as it is, "
        "the report says for each layer why it does not fit, and both pictures are the same.\n\n"
        "A LoRA for Klein 4B base has the same shapes as one for the distilled model and fits both. One for 9B, "
        "FLUX.2 [dev] or FLUX.1 does not.",
        (-440, 0),
        (400, 520),
        "Read me",
    )
    unet = graph.add("UNETLoader", (0, 0), (360, 100), [models["unet"][0], "default"], models=links["unet"])
    clip = graph.add("CLIPLoader", (0, 150), (360, 120), [models["clip"][0], "flux2", "default"], models=links["clip"])
    vae = graph.add("VAELoader", (0, 320), (360, 70), [models["vae"][0]], models=links["vae"])
    text = graph.add(
        "CLIPTextEncode",
        (0, 440),
        (360, 180),
        ["A hedgehog in a knitted scarf on a mossy log, morning light, shallow depth of field"],
        clip=clip["CLIP"],
    )
    empty = graph.add("ConditioningZeroOut", (0, 670), (360, 50), conditioning=text["CONDITIONING"])
    apply = graph.add("PatchbayApplyLora", (440, 0), (420, 900), PLAIN_APPLY, model=unet["MODEL"])
    show = graph.add("PatchbayShowPatches", (440, 780), (420, 440), model=apply["model"])
    shared = sampling(graph, 920, 0, 1024, 4, 7)
    positive, negative = text["CONDITIONING"], empty["CONDITIONING"]
    plain = branch(graph, shared, unet["MODEL"], positive, negative, vae["VAE"], 1.0, (1280, 0))
    patched = branch(graph, shared, show["model"], positive, negative, vae["VAE"], 1.0, (1280, 200))
    graph.add(
        "PatchbayCompareImages",
        (1280, 420),
        (800, 800),
        ["without LoRA", "with LoRA", 4.0],
        image_a=plain["IMAGE"],
        image_b=patched["IMAGE"],
    )
    graph.group("1  Model and prompt", (-20, -80, 400, 1320))
    graph.group("2  Your LoRA", (420, -80, 460, 1320), "#8a6d3b")
    graph.group("3  Same noise, same steps", (900, -80, 340, 1320))
    graph.group("4  Without and with", (1260, -80, 840, 1320), "#3b7d4f")
    return graph


if __name__ == "__main__":
    main()
