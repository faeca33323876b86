"""With and without a LoRA, on Klein Nano and on the models that people use.

The nodes, files and settings of each model are those of ComfyUI's own templates (package
``comfyui-workflow-templates-json`` 0.1.27), without what has nothing to do with the LoRA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .workflow_graph import Graph
from .workflow_node import Node
from .workflow_parts import BASE, BASE_CFG, BASE_STEPS, DUOTONE, PROMPT, PROMPTS, VAE, WIDE, branch, sampling

PLAIN_APPLY = [DUOTONE, 1.0, 1.0, "", "auto", False]
HUGGING_FACE = "https://huggingface.co"
COMFY_ORG = f"{HUGGING_FACE}/Comfy-Org"
KLEIN_FILES = f"{COMFY_ORG}/flux2-klein/resolve/main/split_files"
QWEN_FILES = f"{COMFY_ORG}/Qwen-Image_ComfyUI/resolve/main/split_files"
ZIMAGE_FILES = f"{COMFY_ORG}/z_image_turbo/resolve/main/split_files"
HEDGEHOG = "A hedgehog in a knitted scarf on a mossy log, morning light, shallow depth of field"
COLUMN = {"model": 0, "lora": 400, "sampling": 880, "compare": 1200}
"""Where the four columns begin; the note stands below the model."""

Output = tuple[Node, int]


@dataclass(frozen=True)
class File:
    """A file of a model: its name, where it comes from, and the folder below ``models`` that it belongs into."""

    name: str
    url: str
    folder: str

    @property
    def link(self) -> list[dict[str, str]]:
        """As a node's properties hold it; the frontend offers to fetch what is missing."""
        return [{"name": self.name, "url": f"{self.url}/{self.name}", "directory": self.folder}]


def compared(
    graph: Graph, note: str, load: Callable[[], dict[str, Output]], prompt: Callable[[], Output] | str,
    sample: Callable[[dict[str, Output], str], Output], first: str = "model",
) -> None:  # fmt: skip
    """The model, Apply LoRA, both samplings behind one node, and the comparison.

    Args:
        note: What stands below the model.
        load: Adds the loader; its outputs by name, of which ``first`` and ``clip`` go through Apply LoRA.
        prompt: Adds the prompt, or is its text.
        sample: Given all that comes in, adds what samples and decodes one picture; the suffix of the names of what
            the LoRA changed is its second argument.
    """
    loaded = load()
    note_at = (COLUMN["model"], 400)
    graph.note(note, note_at, (360, 620), "Read me")
    if callable(prompt):
        prompted = prompt()
    else:
        text = graph.add("PrimitiveStringMultiline", (COLUMN["lora"], 0), (420, 120), [prompt], "Prompt")
        prompted = text["STRING"]
    prompted[0].floor = 60 + 20 * max(slot for _, slot in loaded.values())
    through: dict[str, Any] = {name: loaded[name] for name in (first, "clip") if name in loaded}
    apply = graph.add("PatchbayApplyLora", (COLUMN["lora"], 200), (420, 780), PLAIN_APPLY, **through)
    patched = {f"{name} + LoRA": apply[name] for name in through}
    begin = len(graph.nodes)
    given = {**loaded, **patched, "prompt": prompted}
    both = {name: sample(given, suffix) for name, suffix in (("without LoRA", ""), ("with LoRA", " + LoRA"))}
    folded = graph.fold("Same noise, same steps", graph.nodes[begin:], (COLUMN["sampling"], 0), given, both)
    graph.add(
        "PatchbayCompareImages", (COLUMN["compare"], 0), (700, 760), ["without LoRA", "with LoRA", 4.0],
        image_a=folded["without LoRA"], image_b=folded["with LoRA"],
    )  # fmt: skip


def nano(object_info: dict[str, Any]) -> Graph:
    """Klein Nano, which comes with the pack."""
    graph = Graph(object_info, "Compare with and without a LoRA (Klein Nano)")
    shared: dict[str, Any] = {}

    def load() -> dict[str, Output]:
        return {"model": graph.add("UNETLoader", (0, 0), (340, 90), [BASE, "default"])["MODEL"]}

    def prompt() -> Output:
        values = [PROMPTS, PROMPT]
        return graph.add("PatchbayLoadConditioning", (COLUMN["lora"], 0), (420, 120), values)["conditioning"]

    def sample(given: dict[str, Output], suffix: str) -> Output:
        if not shared:
            shared["vae"] = graph.add("PatchbayLoadTinyVAE", (0, 0), (300, 90), [VAE])["vae"]
            empty = graph.add("ConditioningZeroOut", (0, 0), (260, 40), conditioning=given["prompt"])
            shared["negative"] = empty["CONDITIONING"]
            shared["sampling"] = sampling(graph, 0, 0, 128, BASE_STEPS, 7)
        return branch(
            graph, shared["sampling"], given[f"model{suffix}"], given["prompt"], shared["negative"], shared["vae"],
            BASE_CFG, (0, 0),
        )["IMAGE"]  # fmt: skip

    compared(graph, _NANO_NOTE, load, prompt, sample)
    return graph


_NANO_NOTE = (
    "## What does this LoRA do?\n\n"
    "The same prompt, the same noise, the same steps: once without the LoRA, once with it. Press **Run**; it takes a "
    "few seconds on any computer, because *Klein Nano* is a real but tiny FLUX.2 model that comes with LoRA "
    "Patchbay.\n\n"
    "1. **Apply LoRA** patches the model and reports every layer, with the reason for each that does not fit.\n"
    "2. **Compare Images** shows both pictures: side by side, with a slider, or their difference.\n\n"
    "Things to try: another prompt (the names are listed by *Load Conditioning*), strength 0.5 or -1, another LoRA, or "
    f"`{WIDE}` as the model: it has other sizes, and the report says why nothing fits.\n\n"
    "*Same noise, same steps* is a subgraph: double-click it for the sampler's settings. No text encoder is needed: "
    "the prompts are stored as ready conditioning."
)


@dataclass(frozen=True)
class Model:
    """What differs between the models that sample with one diffusion model, one text encoder and one VAE."""

    name: str
    unet: File
    clip: File
    clip_type: str
    vae: File
    about: str
    """What fits this model, for the note."""
    settings: str
    """How it samples, for the note."""
    prompt: str = HEDGEHOG
    negative: str | None = None
    """Text of the negative prompt; None where the model is distilled and takes none."""
    latent: tuple[str, list[int]] = ("EmptySD3LatentImage", [1024, 1024, 1])
    shift: float | None = None
    sampler: tuple[int, float, str, str] = (20, 4.0, "euler", "simple")
    """Steps, CFG, sampler, schedule."""


def with_and_without(object_info: dict[str, Any], model: Model) -> Graph:
    """The workflow for one of :data:`MODELS`."""
    graph = Graph(object_info, f"{model.name} with and without a LoRA")
    shared: dict[str, Any] = {}

    def load() -> dict[str, Output]:
        loader = graph.add("UNETLoader", (0, 0), (340, 90), [model.unet.name, "default"], models=model.unet.link)
        return {"model": loader["MODEL"]}

    def sample(given: dict[str, Output], suffix: str) -> Output:
        if not shared:
            shared.update(_prompts_and_latent(graph, model, given["prompt"]))
        return _sampled(graph, model, given[f"model{suffix}"], shared)

    compared(graph, _note(model, model.unet, model.clip, model.vae), load, model.prompt, sample)
    return graph


def _prompts_and_latent(graph: Graph, model: Model, text: Output) -> dict[str, Output]:
    clip = graph.add(
        "CLIPLoader", (0, 0), (340, 110), [model.clip.name, model.clip_type, "default"], models=model.clip.link
    )
    vae = graph.add("VAELoader", (0, 0), (340, 90), [model.vae.name], models=model.vae.link)
    positive = graph.add("CLIPTextEncode", (0, 0), (300, 90), [""], "Prompt", clip=clip["CLIP"], text=text)
    if model.negative is None:
        negative = graph.add("ConditioningZeroOut", (0, 0), (300, 40), conditioning=positive["CONDITIONING"])
    else:
        negative = graph.add(
            "CLIPTextEncode", (0, 0), (300, 120), [model.negative], "Negative prompt", clip=clip["CLIP"]
        )
    latent = graph.add(model.latent[0], (0, 0), (300, 130), model.latent[1])
    shared = {
        "vae": vae["VAE"], "positive": positive["CONDITIONING"], "negative": negative["CONDITIONING"],
        "latent": latent["LATENT"],
    }  # fmt: skip
    if model.latent[0] == "EmptyFlux2LatentImage":
        width, height, _ = model.latent[1]
        shared |= {
            "noise": graph.add("RandomNoise", (0, 0), (300, 90), [7, "fixed"])["NOISE"],
            "sampler": graph.add("KSamplerSelect", (0, 0), (300, 70), [model.sampler[2]])["SAMPLER"],
            "sigmas": graph.add("Flux2Scheduler", (0, 0), (300, 130), [model.sampler[0], width, height])["SIGMAS"],
        }
    return shared


def _sampled(graph: Graph, model: Model, patched: Output, shared: dict[str, Output]) -> Output:
    """One picture: FLUX.2 by its own schedule, the others by the ordinary sampler."""
    steps, cfg, sampler, schedule = model.sampler
    if "sigmas" in shared:
        nodes = {name: shared[name][0] for name in ("noise", "sampler", "sigmas", "latent")}
        return branch(graph, nodes, patched, shared["positive"], shared["negative"], shared["vae"], cfg, (0, 0))[
            "IMAGE"
        ]
    if model.shift is not None:
        patched = graph.add("ModelSamplingAuraFlow", (0, 0), (260, 60), [model.shift], model=patched)["MODEL"]
    latent = graph.add(
        "KSampler", (0, 0), (300, 262), [7, "fixed", steps, cfg, sampler, schedule, 1.0], model=patched,
        positive=shared["positive"], negative=shared["negative"], latent_image=shared["latent"],
    )  # fmt: skip
    return graph.add("VAEDecode", (0, 0), (230, 60), samples=latent["LATENT"], vae=shared["vae"])["IMAGE"]


def _note(model: Model, *files: File) -> str:
    return note_of(model.name, model.settings, model.about, files)


def note_of(name: str, settings: str, about: str, files: tuple[File, ...]) -> str:
    """The note of a workflow for a model that somebody has to fetch."""
    listed = "\n".join(f"- [{file.name}]({file.url}/{file.name}) in `models/{file.folder}`" for file in files)
    return (
        f"## With and without your LoRA, on {name}\n\n"
        f"Same prompt, same noise, {settings}.\n\n"
        f"**Files**\n\n{listed}\n\n"
        "**Choose your LoRA** in *Apply LoRA*; the sign above the node says at once whether it fits. The one that is "
        "set is made for Klein Nano: nothing of it lands here, and both pictures are the same.\n\n"
        f"{about}\n\n"
        "*Same noise, same steps* is a subgraph: double-click it for the text encoder, the VAE, the size and the "
        "sampler."
    )


_FLUX2_VAE = File("flux2-vae.safetensors", f"{COMFY_ORG}/flux2-dev/resolve/main/split_files/vae", "vae")
MODELS = (
    Model(
        "FLUX.2 Klein 4B",
        File("flux-2-klein-4b.safetensors", f"{KLEIN_FILES}/diffusion_models", "diffusion_models"),
        File("qwen_3_4b.safetensors", f"{KLEIN_FILES}/text_encoders", "text_encoders"), "flux2", _FLUX2_VAE,
        "A LoRA for Klein 4B base has the same shapes as one for the distilled model and fits both. One for 9B, "
        "FLUX.2 [dev] or FLUX.1 does not.",
        "4 steps at CFG 1 as the distilled model wants it",
        latent=("EmptyFlux2LatentImage", [1024, 1024, 1]), sampler=(4, 1.0, "euler", ""),
    ),
    Model(
        "FLUX.2 Klein 9B",
        File("flux-2-klein-9b-fp8.safetensors", f"{HUGGING_FACE}/black-forest-labs/FLUX.2-klein-9b-fp8/resolve/main",
             "diffusion_models"),
        File("qwen_3_8b_fp8mixed.safetensors", f"{COMFY_ORG}/flux2-klein-9B/resolve/main/split_files/text_encoders",
             "text_encoders"), "flux2",
        File("full_encoder_small_decoder.safetensors",
             f"{HUGGING_FACE}/black-forest-labs/FLUX.2-small-decoder/resolve/main", "vae"),
        "The weights are fp8: with method *auto* Apply LoRA goes alongside them where rounding would drown the LoRA. "
        "A LoRA for Klein 9B base fits too; one for 4B, FLUX.2 [dev] or FLUX.1 does not.",
        "4 steps at CFG 1 as the distilled model wants it",
        latent=("EmptyFlux2LatentImage", [1024, 1024, 1]), sampler=(4, 1.0, "euler", ""),
    ),
    Model(
        "Z-Image-Turbo",
        File("z_image_turbo_bf16.safetensors", f"{ZIMAGE_FILES}/diffusion_models", "diffusion_models"),
        File("qwen_3_4b.safetensors", f"{ZIMAGE_FILES}/text_encoders", "text_encoders"), "lumina2",
        File("ae.safetensors", f"{ZIMAGE_FILES}/vae", "vae"),
        "LoRAs for Z-Image and for Z-Image-Turbo have the same shapes: both land. Whether one does the same on the "
        "other model, *Feature Shift* measures.",
        "8 steps at CFG 1", shift=3.0, sampler=(8, 1.0, "res_multistep", "simple"),
    ),
    Model(
        "Qwen-Image 2512",
        File("qwen_image_2512_fp8_e4m3fn.safetensors", f"{QWEN_FILES}/diffusion_models", "diffusion_models"),
        File("qwen_2.5_vl_7b_fp8_scaled.safetensors", f"{QWEN_FILES}/text_encoders", "text_encoders"), "qwen_image",
        File("qwen_image_vae.safetensors", f"{QWEN_FILES}/vae", "vae"),
        "The weights are fp8: with method *auto* Apply LoRA goes alongside them where rounding would drown the LoRA. "
        "LoRAs for Qwen-Image and Qwen-Image-Edit have the same shapes and land too.",
        "50 steps at CFG 4", negative="", latent=("EmptySD3LatentImage", [1328, 1328, 1]), shift=3.1,
        sampler=(50, 4.0, "euler", "simple"),
    ),
)  # fmt: skip

WORKFLOWS: tuple[Callable[[dict[str, Any]], Graph], ...] = (
    nano,
    *(lambda object_info, model=model: with_and_without(object_info, model) for model in MODELS),
)
