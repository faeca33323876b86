"""Workflows about a LoRA on a model that it was not trained on: measure whether it transfers, fit its strengths."""

from __future__ import annotations

import json
from typing import Any

from .workflow_graph import Graph
from .workflow_node import Node
from .workflow_parts import BASE, DISTILLED, DUOTONE, PROMPTS, WIDE

PLAIN_APPLY = [DUOTONE, 1.0, 1.0, "", "merge", False]
MEASURED = 0.0
"""``reference_cfg``: the guidance that the model has built in is measured."""
FIT = ["block and stream", MEASURED, 0.0, 2.0, 0.0, 1, 4, True]
COMFY_ORG = "https://huggingface.co/Comfy-Org"
FLUX2_FILES = f"{COMFY_ORG}/flux2-klein/resolve/main/split_files"
TEACH = [DUOTONE, 0, 150, "klein-nano-duotone-for-wide", 1.5, MEASURED, 0, "", 4, 3, 1.0]
TEACH_4B = [DUOTONE, 0, 500, "my-lora-for-distilled", 1.0, MEASURED, 0, "", 0, 4, 1.0]
TEACH_PROMPTS = ("butterfly", "rocket", "pizza", "owl", "banana", "hammer", "sailboat", "cactus")
NANO_PROMPTS = ("butterfly", "rocket", "pizza", "owl")
KLEIN_PROMPTS = (
    "A hedgehog in a knitted scarf on a mossy log, morning light",
    "A street market at night in the rain, neon signs, reflections",
    "Portrait of an old fisherman, soft window light",
    "A red bicycle leaning on a white wall, hard shadows",
)


def joined_prompts(graph: Graph, prompts: list[Any]) -> Any:
    """Several prompts as one conditioning; each entry counts as a prompt of its own."""
    joined = prompts[0]
    for prompt in prompts[1:]:
        combine = graph.add("ConditioningCombine", (0, 0), (260, 60), conditioning_1=joined, conditioning_2=prompt)
        joined = combine["CONDITIONING"]
    return joined


def _nano(
    graph: Graph, models: tuple[str, str], note: str, prompts: tuple[str, ...] = NANO_PROMPTS, steps: int = 4
) -> dict[str, Any]:
    """In the first column: the model that is asked about, the LoRA's own, and behind one node the prompts, the schedule
    and an empty latent; the note below."""
    student, base = (
        graph.add("UNETLoader", (0, row * 100), (300, 90), [name, "default"], title)
        for row, (name, title) in enumerate(zip(models, ("The other model", "The LoRA's own model"), strict=True))
    )
    begin = len(graph.nodes)
    loaded = [
        graph.add("PatchbayLoadConditioning", (0, 0), (340, 170), [PROMPTS, name])["conditioning"] for name in prompts
    ]
    given = {
        "conditioning": joined_prompts(graph, loaded),
        "negative": graph.add("PatchbayLoadConditioning", (0, 0), (340, 170), [PROMPTS, "empty"])["conditioning"],
        "sigmas": graph.add("Flux2Scheduler", (0, 0), (260, 130), [steps, 128, 128])["SIGMAS"],
        "latent_image": graph.add("EmptyFlux2LatentImage", (0, 0), (260, 130), [128, 128, 1])["LATENT"],
    }
    return _folded(graph, begin, given, note, student, base)


def _folded(
    graph: Graph, begin: int, given: dict[str, Any], note: str, student: Node, base: Node, size: int = 460
) -> dict[str, Any]:
    folded = graph.fold("Prompts and steps", graph.nodes[begin:], (0, 200), {}, given)
    folded.size = (base.size[0], folded.size[1])
    graph.note(note, (0, 300), (base.size[0], size), "Read me")
    return {name: folded[name] for name in given} | {"base": base["MODEL"], "student": student["MODEL"]}


def _rows(graph: Graph, pos: tuple[int, int], title: str, model: Any) -> Any:
    """One LoRA in a row: the node that takes least room."""
    rows = json.dumps([{"on": True, "lora": DUOTONE, "strength": 1.0}])
    node = graph.add("PatchbayApplyLoras", pos, (400, 150), [rows, "auto", False], title, model=model)
    node.floor = 480
    return node["model"]


def _shift(
    graph: Graph, given: dict[str, Any], models: tuple[Any, Any], pos: tuple[int, int], title: str = "", **more: Any
) -> Node:
    return graph.add(
        "PatchbayFeatureShift", pos, (560, 900), [0, 2, 4, True, MEASURED], title,
        model_a=models[0], model_b=models[1], conditioning=given["conditioning"],
        sigmas=given["sigmas"], latent_image=given["latent_image"], **more,
    )  # fmt: skip


def two_models_nano(object_info: dict[str, Any]) -> Graph:
    """Base and distilled: the shift of the features, block by block."""
    graph = Graph(object_info, "How far apart are two models (Klein Nano)")
    note = (
        "## What moves inside?\n\n"
        "**Feature Shift** runs two models on the *same* noisy latents and compares what their blocks compute, image "
        "and text tokens apart.\n\n"
        "Here the base and its distilled version. Any two models of one family will do, for example bf16 and fp8, or "
        "a model without and with a LoRA.\n\n"
        "The red area is what running the same model twice changes, the grey one what another seed changes. Click a "
        "block to see its values before and after, and the channels that moved most."
    )
    given = _nano(graph, (DISTILLED, BASE), note)
    _shift(graph, given, (given["base"], given["student"]), (360, 0), "Base and distilled")
    return graph


def shift_nano(object_info: dict[str, Any]) -> Graph:
    """The duotone LoRA of the base, measured on the distilled model."""
    graph = Graph(object_info, "Does this LoRA transfer (Klein Nano)")
    note = (
        "## Does the LoRA do here what it did there?\n\n"
        "The duotone LoRA was trained on the base model. **Feature Shift** runs base and distilled model, each without "
        "and with the LoRA, on the *same* noisy latents, and compares what the LoRA changes: how large, and whether "
        "it points the same way, block by block.\n\n"
        "The distilled model has guidance built in. How much is measured, with the *negative* prompt, so that like is "
        "compared with like; the notes of the report say what was found.\n\n"
        "The floor (the same run twice) and another seed are given with every figure. The verdict is about the model's "
        "output; look at pictures too."
    )
    given = _nano(graph, (DISTILLED, BASE), note)
    here = _rows(graph, (360, 0), "LoRA on the other model", given["student"])
    there = _rows(graph, (360, 200), "LoRA on its own model", given["base"])
    _shift(
        graph, given, (given["student"], here), (820, 0), reference_a=given["base"], reference_b=there,
        negative=given["negative"],
    )  # fmt: skip
    return graph


def _fit(graph: Graph, given: dict[str, Any], refit_name: str = "") -> None:
    fit = graph.add(
        "PatchbayFitStrengths", (360, 0), (560, 1000), [DUOTONE, 0, 2, *FIT, refit_name],
        model=given["student"], reference=given["base"], conditioning=given["conditioning"], sigmas=given["sigmas"],
        latent_image=given["latent_image"], negative=given["negative"],
    )  # fmt: skip
    fit.floor = 60
    graph.add("PatchbayApplyLora", (980, 0), (420, 780), PLAIN_APPLY, model=given["student"], blocks=fit["blocks"])


def fit_nano(object_info: dict[str, Any]) -> Graph:
    """Fitted strengths for the distilled model, applied."""
    graph = Graph(object_info, "Fit a LoRA to another model (Klein Nano)")
    note = (
        "## Strengths by measurement\n\n"
        "**Fit Strengths** looks for block strengths at which the LoRA changes the distilled model's output as it "
        "changes the base's. Half of the prompts fit, the other half checks; plain 1.0, the best single strength and "
        "the rules used elsewhere are measured on the same held-out prompts.\n\n"
        "On Klein Nano the LoRA transfers by itself, so the honest answer is **keep 1.0** (`all=1`). Try another LoRA "
        "or model.\n\n"
        "The strengths go straight into **Apply LoRA**. The run takes about 550 evaluations of the tiny model."
    )
    given = _nano(graph, (DISTILLED, BASE), note)
    _fit(graph, given)
    return graph


def refit_nano(object_info: dict[str, Any]) -> Graph:
    """The LoRA's own factors refitted to the distilled model, beside everything else that can be done."""
    graph = Graph(object_info, "Refit a LoRA to another model (Klein Nano)")
    note = (
        "## Retraining without a data set?\n\n"
        "With a name in *refit_name*, **Fit Strengths** also refits the LoRA's own factors, layer by layer, by least "
        "squares on what the layers compute; the rank stays. The new LoRA is compared with the others on held-out "
        "prompts.\n\n"
        "It is saved to your loras folder **only if it certainly helps**. On Klein Nano the LoRA transfers by itself, "
        "so there is nothing to save: the table shows it with the other methods, and the last note says so.\n\n"
        "Where a file was saved, a note names it: choose it in **Apply LoRA** and compare pictures. Training on the "
        "model itself remains better if you have pictures to train on."
    )
    given = _nano(graph, (DISTILLED, BASE), note)
    _fit(graph, given, "klein-nano-duotone-refit")
    return graph


def transfer_klein_4b(object_info: dict[str, Any]) -> Graph:
    """The same questions for FLUX.2 Klein 4B base and distilled."""
    graph = Graph(object_info, "FLUX.2 Klein 4B - does this LoRA transfer")
    files, listed = _files_4b()
    note = (
        "## A LoRA for Klein 4B base, on the distilled model\n\n"
        f"**Files**\n\n{listed}\n\n"
        "**Choose your LoRA** in both rows. The one that is set is made for Klein "
        "Nano and does not fit.\n\n"
        "Feature Shift says whether the LoRA transfers. The guidance that the distilled model has built in is "
        "measured with the empty prompt. If the LoRA transfers only in part, add *Fit Strengths* with the same "
        "connections."
    )
    given = _klein(graph, files, note)
    here = _rows(graph, (400, 0), "Your LoRA on distilled", given["student"])
    there = _rows(graph, (400, 200), "Your LoRA on base", given["base"])
    _shift(
        graph, given, (given["student"], here), (860, 0), reference_a=given["base"], reference_b=there,
        negative=given["negative"],
    )  # fmt: skip
    return graph


def _klein(graph: Graph, files: dict[str, tuple[str, str, str]], note: str) -> dict[str, Any]:
    """As :func:`_nano`: distilled and base 4B; the text encoder is behind the node of the prompts."""
    links = {k: [{"name": n, "url": f"{u}/{n}", "directory": d}] for k, (n, u, d) in files.items()}
    student, base = (
        graph.add("UNETLoader", (0, 100 * row), (340, 90), [files[key][0], "default"], title, models=links[key])
        for row, (key, title) in enumerate((("student", "Distilled"), ("base", "Base")))
    )
    begin = len(graph.nodes)
    clip = graph.add("CLIPLoader", (0, 0), (360, 120), [files["clip"][0], "flux2", "default"], models=links["clip"])
    prompts = [
        graph.add("CLIPTextEncode", (0, 0), (360, 130), [text], clip=clip["CLIP"])["CONDITIONING"]
        for text in KLEIN_PROMPTS
    ]
    empty = graph.add("CLIPTextEncode", (0, 0), (360, 100), [""], "Empty prompt", clip=clip["CLIP"])
    given = {
        "conditioning": joined_prompts(graph, prompts), "negative": empty["CONDITIONING"],
        "sigmas": graph.add("Flux2Scheduler", (0, 0), (260, 130), [4, 1024, 1024])["SIGMAS"],
        "latent_image": graph.add("EmptyFlux2LatentImage", (0, 0), (260, 130), [1024, 1024, 1])["LATENT"],
    }  # fmt: skip
    return _folded(graph, begin, given, note, student, base, 520)


def _files_4b() -> tuple[dict[str, tuple[str, str, str]], str]:
    """The files of Klein 4B, and the list of them for a note."""
    files = {
        "base": ("flux-2-klein-base-4b.safetensors", f"{FLUX2_FILES}/diffusion_models", "diffusion_models"),
        "student": ("flux-2-klein-4b.safetensors", f"{FLUX2_FILES}/diffusion_models", "diffusion_models"),
        "clip": ("qwen_3_4b.safetensors", f"{FLUX2_FILES}/text_encoders", "text_encoders"),
    }
    listed = "\n".join(f"- [{name}]({url}/{name}) in `models/{folder}`" for name, url, folder in files.values())
    return files, listed


def teach_nano(object_info: dict[str, Any]) -> Graph:
    """The duotone LoRA of the base, taught to a model of another width."""
    graph = Graph(object_info, "Teach a LoRA to another model (Klein Nano)")
    note = (
        "## A LoRA for a model that it does not fit\n\n"
        "*Klein Nano wide* has twice the width of the base and fewer blocks: no layer of the duotone LoRA lands on it. "
        "**Transfer LoRA** makes a new LoRA from the old one and its own model, without a picture: the base with the "
        "LoRA is the teacher.\n\n"
        "Prompts that nothing was learned from decide whether the file is written; the report has the figures. "
        "How long it takes, the node says before the first step. 150 steps of 4 give the idea; more of both and more "
        "prompts give a better LoRA.\n\n"
        "Then choose the new file in **Apply LoRA** on the wide model."
    )
    given = _nano(graph, (WIDE, BASE), note, TEACH_PROMPTS, 20)
    _teach(graph, given, TEACH)
    return graph


def _teach(graph: Graph, given: dict[str, Any], values: list[Any]) -> None:
    graph.add(
        "PatchbayTransferLora", (400, 0), (560, 1000), values, model=given["student"], reference=given["base"],
        **{name: given[name] for name in ("conditioning", "sigmas", "latent_image", "negative")},
    )  # fmt: skip


def teach_klein_4b(object_info: dict[str, Any]) -> Graph:
    """A LoRA of Klein 4B base, taught to the distilled model."""
    graph = Graph(object_info, "FLUX.2 Klein 4B - teach a LoRA to the distilled model")
    files, listed = _files_4b()
    note = (
        "## A LoRA of Klein 4B base, for the distilled model\n\n"
        f"**Files**\n\n{listed}\n\n"
        "**Choose your LoRA** in *Transfer LoRA*; the one that is set is made for Klein Nano. Write prompts of the "
        "kind that you use, eight or more, joined with *Conditioning (Combine)*.\n\n"
        "Look first whether it is needed: *Does this LoRA transfer* answers in a minute, and a style often transfers "
        "by itself. The new file is written only if it is certainly better."
    )
    _teach(graph, _klein(graph, files, note), TEACH_4B)
    return graph


def patch_reference_klein_4b(object_info: dict[str, Any]) -> Graph:
    """Base with a distillation patch as the reference: does a LoRA do the same on the distilled model?"""
    graph = Graph(object_info, "FLUX.2 Klein 4B - base and patch as reference")
    files, listed = _files_4b()
    note = (
        "## Base + patch as reference\n\n"
        f"**Files**\n\n{listed}\n\n"
        "Some LoRAs are made for a model *with a patch*: trained on a base with a distillation LoRA, or on a "
        "distilled model with a training adapter that is left out to draw. Their own model is then base + patch, and "
        "that is what to compare with.\n\n"
        "**Choose the patch** in *The patch on base*, **your LoRA** in the other two. Feature Shift says whether "
        "your LoRA does on the distilled model what it does on base + patch. The LoRAs that are set are made for "
        "Klein Nano and do not fit."
    )
    given = _klein(graph, files, note)
    here = _rows(graph, (400, 0), "Your LoRA on distilled", given["student"])
    patch = _rows(graph, (400, 200), "The patch on base", given["base"])
    own = _rows(graph, (860, 200), "Your LoRA on base + patch", patch)
    own[0].floor = 800
    _shift(
        graph, given, (given["student"], here), (1320, 0), reference_a=patch, reference_b=own,
        negative=given["negative"],
    )  # fmt: skip
    return graph


WORKFLOWS = (
    two_models_nano, shift_nano, fit_nano, refit_nano, transfer_klein_4b, teach_nano, teach_klein_4b,
    patch_reference_klein_4b,
)  # fmt: skip
