"""Which blocks of a LoRA make the picture, by leaving them out."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .core.report.report import to_json
from .core.report.text import report_text
from .core.strengths.groups import BLOCK
from .core.sweep.modes import KNOCK_OUT, MODES
from .core.sweep.report import sweep_data, sweep_text
from .core.sweep.units import OWN, UNITS, own_groups
from .host.apply.lora_cache import LORA_CACHE
from .host.comfyui.lora_input import lora_file, lora_file_input, lora_fingerprint
from .host.sweep.cells import SweepInputs
from .host.sweep.sweep import run_sweep
from .sockets import CATEGORY, report_outputs, sampler_inputs, with_inputs


def _sampling_inputs() -> list[io.Input]:
    """What is sampled, and how: the same in every run."""
    return [
        io.Conditioning.Input(
            "positive",
            tooltip="The prompts. Join several with Conditioning (Combine): each counts as one prompt of its own.",
        ),
        io.Conditioning.Input("negative", tooltip="The negative prompt; has no effect at CFG 1."),
        io.Latent.Input("latent_image", tooltip="The latent to sample: its size is the picture's size."),
        io.Vae.Input(
            "vae",
            optional=True,
            tooltip="If connected, pictures are compared and shown as they come; else latents are compared.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFF0000,
            control_after_generate=False,
            tooltip="The first noise. Further seeds count on from it.",
        ),
        io.Int.Input(
            "seeds",
            default=2,
            min=1,
            max=64,
            tooltip="Noises for each prompt. One picture may need other blocks than the next: three prompts or seeds "
            "and more also give intervals that say something.",
        ),
        *sampler_inputs(1, "The sampler. One without randomness compares best."),
    ]


def _sweep_inputs() -> list[io.Input]:
    """What is left out, and for how long."""
    return [
        io.Combo.Input(
            "mode",
            options=list(MODES),
            default=KNOCK_OUT,
            tooltip="knock-out: one unit is left out at a time; what is missed then? solo: one unit alone; what does "
            "it make? search: the fewest units that keep the picture, by halving, with fewer runs where there are "
            "many units.",
        ),
        io.Combo.Input(
            "units",
            options=list(UNITS),
            default=BLOCK,
            tooltip="What is left out together: a block; its image and text stream apart; its attention and MLP "
            "apart; all blocks of a kind; or your own groups.",
        ),
        io.Float.Input(
            "distance",
            default=0.1,
            min=0.0,
            max=0.9,
            step=0.01,
            tooltip="How much of the LoRA's effect may be missed before it counts as another picture: 0.1 is a tenth "
            "of what the whole LoRA changes.",
        ),
        io.Float.Input(
            "time_budget",
            default=600.0,
            min=1.0,
            max=86400.0,
            step=1.0,
            tooltip="Seconds to spend. What was run is kept: the next run goes on from there.",
        ),
    ]


def _advanced_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "strength",
            default=1.0,
            min=-100.0,
            max=100.0,
            step=0.05,
            advanced=True,
            tooltip="Strength of the LoRA in every run.",
        ),
        io.String.Input(
            "own_groups",
            default="",
            advanced=True,
            tooltip="For units: own groups. Groups separated by semicolons or lines, their blocks by commas, with a "
            "name before a colon if you like, for example early: double_blocks.0-2, single_blocks.0-5; late: "
            "single_blocks.6-19.",
        ),
        io.Combo.Input(
            "method",
            options=["auto", "merge", "bypass"],
            default="auto",
            advanced=True,
            tooltip="How the LoRA is applied, as in Apply LoRA. auto: merged into whole weights, of which only those "
            "that changed are made again; alongside quantised weights if rounding would drown it.",
        ),
        io.Boolean.Input(
            "feature_shift",
            default=True,
            advanced=True,
            tooltip="Also measures how far each block moves the model's features, for comparison. Costs about as much "
            "as two runs. Only for whole blocks, streams and kinds.",
        ),
        io.Boolean.Input(
            "resume",
            default=True,
            advanced=True,
            tooltip="Keeps the latents of every run in ComfyUI's user folder (up to 1 GB, the oldest go first), by "
            "model, LoRA, prompt and settings, and does not run again what is there.",
        ),
    ]


class PatchbayBlockSweep(io.ComfyNode):
    """A LoRA with units left out, on the same prompts and noises."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayBlockSweep",
            display_name="Block Sweep (Patchbay)",
            category=CATEGORY,
            description="Finds out which blocks of a LoRA make the picture: samples with blocks left out, measures how "
            "much of the LoRA's effect is missed, and returns the strengths that keep the picture and drop the rest.",
            search_aliases=[
                "block analysis", "which blocks matter", "knock out", "ablation", "lora block weight", "block search",
                "xy plot", "layer importance",
            ],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model that you use the LoRA with, without this LoRA."),
                lora_file_input(),
                *_sampling_inputs(),
                *_sweep_inputs(),
                *_advanced_inputs(),
            ],
            outputs=[
                io.String.Output(
                    "blocks",
                    tooltip="The strengths that keep the picture and leave out the rest, in the text form, for Apply "
                    "LoRA, Block Strengths or Save LoRA.",
                ),
                io.Image.Output(
                    "sheet", tooltip="All pictures with their labels: the whole LoRA, the result, without it, and one "
                    "for each unit."
                ),
                *report_outputs(),
            ],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, units: str | None = None, own_groups: str | None = None) -> bool | str:
        if units == OWN and own_groups is not None:
            return _check_groups(own_groups)
        return True

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: object) -> str:
        return lora_fingerprint(lora_name)

    @classmethod
    def execute(
        cls,
        model: Any,
        lora_name: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        seed: int,
        seeds: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        mode: str,
        units: str,
        distance: float,
        time_budget: float,
        strength: float = 1.0,
        own_groups: str = "",
        method: str = "auto",
        feature_shift: bool = True,
        resume: bool = True,
        vae: Any = None,
    ) -> io.NodeOutput:
        lora = LORA_CACHE.load(lora_file(lora_name), lora_name)
        result = run_sweep(
            SweepInputs(
                model=model, lora=lora, strength=strength, positive=positive, negative=negative, latent=latent_image,
                seed=seed, seeds=seeds, steps=steps, cfg=cfg, sampler_name=sampler_name, scheduler=scheduler,
                mode=mode, grouping=units, distance=distance, budget_s=time_budget, own_groups=own_groups,
                method=method, resume=resume, feature_shift=feature_shift, vae=vae,
            ),
            cls.hidden.unique_id,
        )  # fmt: skip
        text = f"{report_text(result.report)}\n{sweep_text(result.table)}\n\nblocks: {result.blocks}\n"
        ui = {
            "patchbay_sweep": [sweep_data(result.report, result.table)],
            "patchbay_report": [to_json(result.report)],
            "text": [text],
        }
        return io.NodeOutput(result.blocks, result.sheet[None], result.report, text, ui=with_inputs(ui, model))


def _check_groups(text: str) -> bool | str:
    try:
        own_groups(text)
    except ValueError as error:
        return str(error)
    return True
