"""Block strengths for a model that the LoRA was not trained on, by measurement."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.report.report import picture_data, to_json
from .core.report.text import report_text
from .core.transfer.fit_report import PLAIN, fit_text, least_gain
from .core.transfer.guidance import check_reference_cfg
from .feature_shift import negative_input, probe_inputs, reference_cfg_input
from .host.comfyui.lora_input import lora_file, lora_file_input, lora_fingerprint
from .host.transfer.feature_shift import ProbeSettings
from .host.transfer.fit_strengths import FitSettings, Fitted, fit_strengths
from .host.transfer.strength_lab import GROUPINGS
from .sockets import CATEGORY, report_outputs, with_inputs


def _advanced_inputs() -> list[io.Input]:
    """How the fit is made."""
    return [
        io.Float.Input(
            "low",
            default=0.0,
            min=-4.0,
            max=1.0,
            step=0.05,
            advanced=True,
            tooltip="Smallest strength allowed.",
        ),
        io.Float.Input(
            "high", default=2.0, min=1.0, max=8.0, step=0.05, advanced=True, tooltip="Largest strength allowed."
        ),
        io.Float.Input(
            "ridge",
            default=0.0,
            min=0.0,
            max=100.0,
            step=0.001,
            advanced=True,
            tooltip="How strongly the fit is pulled towards 1. 0: chosen automatically by cross-validation over "
            "prompts.",
        ),
        io.Int.Input(
            "rounds",
            default=1,
            min=1,
            max=4,
            advanced=True,
            tooltip="Number of Gauss-Newton rounds; each costs as much as the first.",
        ),
        io.Int.Input(
            "levels",
            default=4,
            min=1,
            max=64,
            advanced=True,
            tooltip="How many of the noise levels are evaluated, evenly spread over the schedule.",
        ),
        io.Boolean.Input(
            "compare_rules",
            default=True,
            advanced=True,
            tooltip="Also measure the rules that are used elsewhere (inverse norm, activation ratio).",
        ),
        io.String.Input(
            "refit_name",
            default="",
            advanced=True,
            tooltip="A file name: the LoRA's own factors are refitted too, by least squares on captured activations, "
            "and saved to loras under this name if they are certain to help. Empty: not tried.",
        ),
    ]


class PatchbayFitStrengths(io.ComfyNode):
    """Strengths by block that make a LoRA do here what it did on its own model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayFitStrengths",
            display_name="Fit Strengths (Patchbay)",
            category=CATEGORY,
            description="Finds the block strengths at which a LoRA changes this model's output as it changes the model "
            "that it was trained on, checks them on prompts that were held out, and keeps 1.0 where they do not help.",
            search_aliases=["adaptive lora", "block weight", "auto strength", "transfer", "distilled"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model that you will use, without the LoRA."),
                lora_file_input(),
                *probe_inputs(),
                io.Int.Input(
                    "seeds",
                    default=2,
                    min=1,
                    max=64,
                    tooltip="Seeds per prompt. Every other prompt is held out for the check; with one prompt, every "
                    "other seed.",
                ),
                io.Combo.Input(
                    "grouping",
                    options=list(GROUPINGS),
                    default=GROUPINGS[0],
                    tooltip="What shares one strength. Fewer groups need fewer evaluations and generalise better.",
                ),
                reference_cfg_input(),
                *_advanced_inputs(),
                io.Model.Input(
                    "reference",
                    optional=True,
                    tooltip="The model that the LoRA was trained on, without it. Without a reference nothing is "
                    "fitted: blocks that shift far more than the others are lowered, by a rule of thumb.",
                ),
                negative_input(),
            ],
            outputs=[
                io.String.Output(
                    "blocks", tooltip="The strengths in the text form, for Apply LoRA, Block Strengths or Save LoRA."
                ),
                *report_outputs(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: object) -> str:
        return lora_fingerprint(lora_name)

    @classmethod
    def execute(
        cls,
        model: Any,
        lora_name: str,
        conditioning: Any,
        sigmas: Any,
        latent_image: Any,
        seed: int,
        seeds: int,
        grouping: str,
        reference_cfg: float = 0.0,
        low: float = 0.0,
        high: float = 2.0,
        ridge: float = 0.0,
        rounds: int = 1,
        levels: int = 4,
        compare_rules: bool = True,
        refit_name: str = "",
        reference: Any = None,
        negative: Any = None,
    ) -> io.NodeOutput:
        if reference is not None and len(conditioning) < 2 and seeds < 2:
            raise PatchbayError(
                "conditioning: one prompt and one seed leave nothing to hold out for the check. Join a second prompt "
                "with Conditioning (Combine), or set seeds to 2 or more."
            )
        if reference is not None:
            check_reference_cfg(reference_cfg, negative is not None)
        path = lora_file(lora_name)
        probes = ProbeSettings(conditioning, latent_image, sigmas, seed, seeds, levels)
        settings = FitSettings(
            probes, grouping, low, high, ridge, reference_cfg, negative, rounds, compare_rules, refit_name
        )
        fitted = fit_strengths(model, reference, path, lora_name, settings, cls.hidden.unique_id)
        text = f"{report_text(fitted.report)}\n{fit_text(fitted.table)}\n\nblocks: {fitted.blocks}\n"
        ui = {
            "patchbay_fit": [fit_data(fitted)],
            "patchbay_report": [to_json(fitted.report)],
            "text": [text],
        }
        return io.NodeOutput(fitted.blocks, fitted.report, text, ui=with_inputs(ui))


def fit_data(fitted: Fitted) -> dict[str, Any]:
    """What the picture on the node is drawn from."""
    report, plain = fitted.report, fitted.table.candidate(PLAIN)
    return {
        **picture_data(report, fitted.table, "patchbay.fit"),
        "blocks": fitted.blocks,
        "worthwhile": 0.0 if plain is None else least_gain(plain.error.mean),
    }
