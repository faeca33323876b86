"""Workflows about a LoRA on a model that it was not trained on: measure whether it transfers, fit its strengths."""

from __future__ import annotations

from typing import Any

from .workflow_graph import Graph, Node
from .workflow_parts import BASE, DISTILLED, DUOTONE, PROMPTS, WIDE

PLAIN_APPLY = [DUOTONE, 1.0, 1.0, "", "merge", False]
MEASURED = 0.0
"""``reference_cfg``: the guidance that the model has built in is measured."""
FIT = ["block and stream", MEASURED, 0.0, 2.0, 0.0, 1, 4, True]
COMFY_ORG = "https://huggingface.co/Comfy-Org"
FLUX2_FILES = f"{COMFY_ORG}/flux2-klein/resolve/main/split_files"
TEACH = [DUOTONE, 0, 150, "klein-nano-duotone-for-wide", 1.5, MEASURED, 0, "", 0, 3, 1.0]
TEACH_4B = [DUOTONE, 0, 500, "my-lora-for-distilled", 1.0, MEASURED, 0, "", 0, 4, 1.0]
TEACH_PROMPTS = ("butterfly", "rocket", "pizza", "owl", "banana", "hammer", "sailboat", "cactus")
NANO_PROMPTS = ("butterfly", "rocket", "pizza", "owl")
KLEIN_PROMPTS = (
    "A hedgehog in a knitted scarf on a mossy log, morning light",
    "A street market at night in the rain, neon signs, reflections",
    "Portrait of an old fisherman, soft window light",
    "A red bicycle leaning on a white wall, hard shadows",
)


def _joined(graph: Graph, prompts: list[Any], x: int, y: int) -> Any:
    """Several prompts as one conditioning; each entry counts as a prompt of its own."""
    joined = prompts[0]
    for row, prompt in enumerate(prompts[1:]):
        combine = graph.add(
            "ConditioningCombine", (x, y + 100 * row), (260, 60), conditioning_1=joined, conditioning_2=prompt
        )
        joined = combine["CONDITIONING"]
    return joined


def _nano(graph: Graph) -> dict[str, Any]:
    """Both models, four prompts, the student's schedule and an empty latent."""
    base, student = (
        graph.add("UNETLoader", (0, row * 160), (340, 100), [name, "default"], title)
        for row, (name, title) in enumerate(((BASE, "The LoRA's own model"), (DISTILLED, "Another model")))
    )
    prompts = [
        graph.add("PatchbayLoadConditioning", (0, 340 + 230 * row), (340, 170), [PROMPTS, name])["conditioning"]
        for row, name in enumerate(NANO_PROMPTS)
    ]
    sigmas = graph.add("Flux2Scheduler", (380, 340), (260, 130), [4, 128, 128])
    latent = graph.add("EmptyFlux2LatentImage", (380, 520), (260, 130), [128, 128, 1])
    return {
        "base": base["MODEL"], "student": student["MODEL"], "conditioning": _joined(graph, prompts, 380, 720),
        "sigmas": sigmas["SIGMAS"], "latent_image": latent["LATENT"],
    }  # fmt: skip


def _empty(graph: Graph) -> Any:
    """The prompt that the base is guided away from."""
    return graph.add("PatchbayLoadConditioning", (380, 1040), (260, 170), [PROMPTS, "empty"])["conditioning"]


def _shift(
    graph: Graph, given: dict[str, Any], models: tuple[Any, Any], pos: tuple[int, int], title: str = "", **more: Any
) -> Node:
    return graph.add(
        "PatchbayFeatureShift", pos, (560, 900), [0, 2, 4, True, MEASURED], title,
        model_a=models[0], model_b=models[1], conditioning=given["conditioning"],
        sigmas=given["sigmas"], latent_image=given["latent_image"], **more,
    )  # fmt: skip


def two_models_nano(object_info: dict[str, Any]) -> Graph:
    """Without and with a LoRA, and base and distilled: the shift of the features, block by block."""
    graph = Graph(object_info, "How far apart are two models (Klein Nano)")
    graph.note(
        "## What moves inside?\n\n"
        "**Feature Shift** runs two models on the *same* noisy latents and compares what their blocks compute, image "
        "and text tokens apart.\n\n"
        "Above: the base without and with a LoRA. Below: the base and its distilled version. Any two models of one "
        "family will do, for example bf16 and fp8.\n\n"
        "The red area is what running the same model twice changes, the grey one what another seed changes. Click a "
        "block to see its values before and after, and the channels that moved most.",
        (-420, 0),
        (380, 420),
        "Read me",
    )
    given = _nano(graph)
    lora = graph.add("PatchbayApplyLora", (700, 0), (400, 900), PLAIN_APPLY, model=given["base"])
    _shift(graph, given, (given["base"], lora["model"]), (1160, 0), "Without and with the LoRA")
    _shift(graph, given, (given["base"], given["student"]), (1160, 1240), "Base and distilled")
    graph.group("Models, prompts, noise levels", (-20, -80, 680, 1380))
    graph.group("A LoRA", (680, -80, 440, 1260), "#8a6d3b")
    graph.group("What moves inside?", (1140, -80, 600, 2280), "#3b7d4f")
    return graph


def shift_nano(object_info: dict[str, Any]) -> Graph:
    """The duotone LoRA of the base, measured on the distilled model."""
    graph = Graph(object_info, "Does this LoRA transfer (Klein Nano)")
    graph.note(
        "## Does the LoRA do here what it did there?\n\n"
        "The duotone LoRA was trained on the base model. **Feature Shift** runs base and distilled model, each without "
        "and with the LoRA, on the *same* noisy latents, and compares what the LoRA changes: how large, and whether "
        "it points the same way, block by block.\n\n"
        "The distilled model has guidance built in. How much is measured, with the *negative* prompt, so that like is "
        "compared with like; the notes of the report say what was found.\n\n"
        "The floor (the same run twice) and another seed are given with every figure. The verdict is about the model's "
        "output; look at pictures too.",
        (-420, 0),
        (380, 440),
        "Read me",
    )
    given = _nano(graph)
    base, student = (
        graph.add("PatchbayApplyLora", (700, 1240 * row), (400, 900), PLAIN_APPLY, title, model=given[model])
        for row, (model, title) in enumerate((("base", "LoRA on its own model"), ("student", "LoRA on another model")))
    )
    _shift(
        graph, given, (given["student"], student["model"]), (1160, 0),
        reference_a=given["base"], reference_b=base["model"], negative=_empty(graph),
    )  # fmt: skip
    graph.group("Models, prompts, noise levels", (-20, -80, 680, 1380))
    graph.group("The same LoRA on both", (680, -80, 440, 2540), "#8a6d3b")
    graph.group("Does it transfer?", (1140, -80, 600, 1020), "#3b7d4f")
    return graph


def _fit(graph: Graph, given: dict[str, Any], refit_name: str = "") -> Node:
    return graph.add(
        "PatchbayFitStrengths", (700, 0), (560, 1040), [DUOTONE, 0, 2, *FIT, refit_name],
        model=given["student"], reference=given["base"], conditioning=given["conditioning"], sigmas=given["sigmas"],
        latent_image=given["latent_image"], negative=_empty(graph),
    )  # fmt: skip


def fit_nano(object_info: dict[str, Any]) -> Graph:
    """Fitted strengths for the distilled model, applied."""
    graph = Graph(object_info, "Fit a LoRA to another model (Klein Nano)")
    graph.note(
        "## Strengths by measurement\n\n"
        "**Fit Strengths** looks for block strengths at which the LoRA changes the distilled model's output as it "
        "changes the base's. Half of the prompts fit, the other half checks; plain 1.0, the best single strength and "
        "the rules used elsewhere are measured on the same held-out prompts.\n\n"
        "On Klein Nano the LoRA transfers by itself, so the honest answer is **keep 1.0** (`all=1`). Try another LoRA "
        "or model.\n\n"
        "The strengths go straight into **Apply LoRA**. The run takes about 550 evaluations of the tiny model.",
        (-420, 0),
        (380, 440),
        "Read me",
    )
    given = _nano(graph)
    fit = _fit(graph, given)
    apply = graph.add(
        "PatchbayApplyLora", (1320, 0), (420, 900), PLAIN_APPLY, model=given["student"], blocks=fit["blocks"]
    )
    graph.add("PatchbayShowPatches", (1320, 1260), (420, 440), model=apply["model"])
    graph.group("Models, prompts, noise levels", (-20, -80, 680, 1380))
    graph.group("Fit", (680, -80, 600, 1380), "#8a6d3b")
    graph.group("Use", (1300, -80, 460, 1820), "#3b7d4f")
    return graph


def refit_nano(object_info: dict[str, Any]) -> Graph:
    """The LoRA's own factors refitted to the distilled model, beside everything else that can be done."""
    graph = Graph(object_info, "Refit a LoRA to another model (Klein Nano)")
    graph.note(
        "## Retraining without a data set?\n\n"
        "With a name in *refit_name*, **Fit Strengths** also refits the LoRA's own factors, layer by layer, by least "
        "squares on what the layers compute; the rank stays. The new LoRA is compared with the others on held-out "
        "prompts.\n\n"
        "It is saved to your loras folder **only if it certainly helps**. On Klein Nano the LoRA transfers by itself, "
        "so there is nothing to save: the table shows it with the other methods, and the last note says so.\n\n"
        "Where a file was saved, a note names it: choose it in **Apply LoRA** and compare pictures. Training on the "
        "model itself remains better if you have pictures to train on.",
        (-420, 0),
        (380, 460),
        "Read me",
    )
    given = _nano(graph)
    fit = _fit(graph, given, "klein-nano-duotone-refit")
    apply = graph.add(
        "PatchbayApplyLora", (1320, 0), (420, 900), PLAIN_APPLY, model=given["student"], blocks=fit["blocks"]
    )
    graph.add("PatchbayShowPatches", (1320, 1260), (420, 440), model=apply["model"])
    graph.group("Models, prompts, noise levels", (-20, -80, 680, 1380))
    graph.group("Fit and refit", (680, -80, 600, 1380), "#8a6d3b")
    graph.group("Use", (1300, -80, 460, 1820), "#3b7d4f")
    return graph


def transfer_klein_4b(object_info: dict[str, Any]) -> Graph:
    """The same questions for FLUX.2 Klein 4B base and distilled."""
    graph = Graph(object_info, "Does this LoRA transfer (FLUX.2 Klein 4B base and distilled)")
    files = {
        "base": ("flux-2-klein-base-4b.safetensors", f"{FLUX2_FILES}/diffusion_models", "diffusion_models"),
        "student": ("flux-2-klein-4b.safetensors", f"{FLUX2_FILES}/diffusion_models", "diffusion_models"),
        "clip": ("qwen_3_4b.safetensors", f"{FLUX2_FILES}/text_encoders", "text_encoders"),
    }
    links = {k: [{"name": n, "url": f"{u}/{n}", "directory": d}] for k, (n, u, d) in files.items()}
    listed = "\n".join(f"- [{name}]({url}/{name}) in `models/{folder}`" for name, url, folder in files.values())
    graph.note(
        "## A LoRA for Klein 4B base, on the distilled model\n\n"
        f"**Files**\n\n{listed}\n\n"
        "**Choose your LoRA** in both *Apply LoRA* nodes. The one that is set is made for Klein "
        "Nano and does not fit.\n\n"
        "Feature Shift says whether the LoRA transfers. The guidance that the distilled model has built in is "
        "measured with the empty prompt. If the LoRA transfers only in part, add *Fit Strengths* with the same "
        "connections.",
        (-440, 0),
        (400, 480),
        "Read me",
    )
    base, student = (
        graph.add("UNETLoader", (0, 160 * row), (360, 100), [files[key][0], "default"], models=links[key])
        for row, key in enumerate(("base", "student"))
    )
    clip = graph.add("CLIPLoader", (0, 330), (360, 120), [files["clip"][0], "flux2", "default"], models=links["clip"])
    prompts = [
        graph.add("CLIPTextEncode", (0, 510 + 180 * row), (360, 130), [text], clip=clip["CLIP"])["CONDITIONING"]
        for row, text in enumerate(KLEIN_PROMPTS)
    ]
    sigmas = graph.add("Flux2Scheduler", (400, 340), (260, 130), [4, 1024, 1024])
    latent = graph.add("EmptyFlux2LatentImage", (400, 520), (260, 130), [1024, 1024, 1])
    given = {
        "base": base["MODEL"], "student": student["MODEL"], "conditioning": _joined(graph, prompts, 400, 720),
        "sigmas": sigmas["SIGMAS"], "latent_image": latent["LATENT"],
    }  # fmt: skip
    negative = graph.add("CLIPTextEncode", (0, 1230), (360, 100), [""], "Empty prompt", clip=clip["CLIP"])
    loras = tuple(
        graph.add("PatchbayApplyLora", (720, 1240 * row), (420, 900), PLAIN_APPLY, title, model=given[key])
        for row, (key, title) in enumerate((("base", "Your LoRA on base"), ("student", "Your LoRA on distilled")))
    )
    _shift(
        graph, given, (given["student"], loras[1]["model"]), (1200, 0),
        reference_a=given["base"], reference_b=loras[0]["model"], negative=negative["CONDITIONING"],
    )  # fmt: skip
    graph.group("Models and prompts", (-20, -80, 700, 1460))
    graph.group("Your LoRA", (700, -80, 460, 2540), "#8a6d3b")
    graph.group("Does it transfer?", (1180, -80, 600, 1020), "#3b7d4f")
    return graph


def _klein(graph: Graph, files: dict[str, tuple[str, str, str]]) -> dict[str, Any]:
    """Base and distilled 4B, prompts, the empty prompt, the schedule of four steps, and an empty latent."""
    links = {k: [{"name": n, "url": f"{u}/{n}", "directory": d}] for k, (n, u, d) in files.items()}
    base, student = (
        graph.add("UNETLoader", (0, 160 * row), (360, 100), [files[key][0], "default"], models=links[key])
        for row, key in enumerate(("base", "student"))
    )
    clip = graph.add("CLIPLoader", (0, 330), (360, 120), [files["clip"][0], "flux2", "default"], models=links["clip"])
    prompts = [
        graph.add("CLIPTextEncode", (0, 510 + 180 * row), (360, 130), [text], clip=clip["CLIP"])["CONDITIONING"]
        for row, text in enumerate(KLEIN_PROMPTS)
    ]
    sigmas = graph.add("Flux2Scheduler", (400, 340), (260, 130), [4, 1024, 1024])
    latent = graph.add("EmptyFlux2LatentImage", (400, 520), (260, 130), [1024, 1024, 1])
    negative = graph.add("CLIPTextEncode", (0, 1230), (360, 100), [""], "Empty prompt", clip=clip["CLIP"])
    return {
        "base": base["MODEL"], "student": student["MODEL"], "conditioning": _joined(graph, prompts, 400, 720),
        "sigmas": sigmas["SIGMAS"], "latent_image": latent["LATENT"], "negative": negative["CONDITIONING"],
    }  # fmt: skip


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
    graph.note(
        "## A LoRA for a model that it does not fit\n\n"
        "*Klein Nano wide* has twice the width of the base and fewer blocks: no layer of the duotone LoRA lands on it. "
        "**Transfer LoRA** makes a new LoRA from the old one and its own model, without a picture: the base with the "
        "LoRA is the teacher.\n\n"
        "Prompts that nothing was learned from decide whether the file is written; the report has the figures. "
        "The run takes one to three minutes on two cores. 150 steps give the idea; more steps and more prompts give a "
        "better LoRA.\n\n"
        "Then choose the new file in **Apply LoRA** on the wide model.",
        (-420, 0),
        (380, 440),
        "Read me",
    )
    base, wide = (
        graph.add("UNETLoader", (0, row * 160), (340, 100), [name, "default"], title)
        for row, (name, title) in enumerate(((BASE, "The LoRA's own model"), (WIDE, "The model to teach")))
    )
    prompts = [
        graph.add("PatchbayLoadConditioning", (0, 340 + 230 * row), (340, 170), [PROMPTS, name])["conditioning"]
        for row, name in enumerate(TEACH_PROMPTS)
    ]
    sigmas = graph.add("Flux2Scheduler", (380, 340), (260, 130), [20, 128, 128])
    latent = graph.add("EmptyFlux2LatentImage", (380, 520), (260, 130), [128, 128, 1])
    empty = graph.add("PatchbayLoadConditioning", (380, 1480), (260, 170), [PROMPTS, "empty"])["conditioning"]
    graph.add(
        "PatchbayTransferLora", (700, 0), (560, 1040), TEACH, model=wide["MODEL"], reference=base["MODEL"],
        conditioning=_joined(graph, prompts, 380, 720), sigmas=sigmas["SIGMAS"], latent_image=latent["LATENT"],
        negative=empty,
    )  # fmt: skip
    graph.group("Models, prompts, noise levels", (-20, -80, 680, 2280))
    graph.group("Teach", (680, -80, 600, 1160), "#8a6d3b")
    return graph


def teach_klein_4b(object_info: dict[str, Any]) -> Graph:
    """A LoRA of Klein 4B base, taught to the distilled model."""
    graph = Graph(object_info, "Teach a LoRA to another model (FLUX.2 Klein 4B base and distilled)")
    files, listed = _files_4b()
    graph.note(
        "## A LoRA of Klein 4B base, for the distilled model\n\n"
        f"**Files**\n\n{listed}\n\n"
        "**Choose your LoRA** in *Transfer LoRA*; the one that is set is made for Klein Nano. Write prompts of the "
        "kind that you use, eight or more, joined with *Conditioning (Combine)*.\n\n"
        "Look first whether it is needed: *Does this LoRA transfer* answers in a minute, and a style often transfers "
        "by itself. The new file is written only if it is certainly better.",
        (-440, 0),
        (400, 480),
        "Read me",
    )
    given = _klein(graph, files)
    graph.add(
        "PatchbayTransferLora", (720, 0), (560, 1040), TEACH_4B, model=given["student"], reference=given["base"],
        **{name: given[name] for name in ("conditioning", "sigmas", "latent_image", "negative")},
    )  # fmt: skip
    graph.group("Models and prompts", (-20, -80, 700, 1460))
    graph.group("Teach", (700, -80, 600, 1160), "#8a6d3b")
    return graph


def patch_reference_klein_4b(object_info: dict[str, Any]) -> Graph:
    """Base with a distillation patch as the reference: does a LoRA do the same on the distilled model?"""
    graph = Graph(object_info, "Base and patch as reference (FLUX.2 Klein 4B)")
    files, listed = _files_4b()
    graph.note(
        "## Base + patch as reference\n\n"
        f"**Files**\n\n{listed}\n\n"
        "Some LoRAs are made for a model *with a patch*: trained on a base with a distillation LoRA, or on a "
        "distilled model with a training adapter that is left out to draw. Their own model is then base + patch, and "
        "that is what to compare with.\n\n"
        "**Choose the patch** in the upper *Apply LoRA*, **your LoRA** in the other two. Feature Shift says whether "
        "your LoRA does on the distilled model what it does on base + patch. The LoRAs that are set are made for "
        "Klein Nano and do not fit.",
        (-440, 0),
        (400, 520),
        "Read me",
    )
    given = _klein(graph, files)
    patch = graph.add("PatchbayApplyLora", (720, 0), (420, 900), PLAIN_APPLY, "The patch on base", model=given["base"])
    own = graph.add("PatchbayApplyLora", (1200, 0), (420, 900), PLAIN_APPLY, "Your LoRA there", model=patch["model"])
    here = graph.add(
        "PatchbayApplyLora", (1200, 1240), (420, 900), PLAIN_APPLY, "Your LoRA on distilled", model=given["student"]
    )
    _shift(
        graph, given, (given["student"], here["model"]), (1680, 0), reference_a=patch["model"],
        reference_b=own["model"], negative=given["negative"],
    )  # fmt: skip
    graph.group("Models and prompts", (-20, -80, 700, 1460))
    graph.group("The patch", (700, -80, 460, 1080), "#8a6d3b")
    graph.group("Your LoRA", (1180, -80, 460, 2320), "#8a6d3b")
    graph.group("Does it transfer?", (1660, -80, 600, 1020), "#3b7d4f")
    return graph


WORKFLOWS = (
    two_models_nano, shift_nano, fit_nano, refit_nano, transfer_klein_4b, teach_nano, teach_klein_4b,
    patch_reference_klein_4b,
)  # fmt: skip
