"""Compare what two models compute inside, or what one LoRA does on two models."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.report.report import picture_data, to_json
from .core.report.text import report_text
from .core.transfer.guidance import check_reference_cfg
from .core.transfer.shift_report import LARGELY, PARTLY, SAME, shift_text
from .host.transfer.feature_shift import Measured, ProbeSettings, measure_shift
from .sockets import CATEGORY, report_outputs, with_inputs


def probe_inputs() -> list[io.Input]:
    """The inputs that say what models are evaluated on."""
    return [
        io.Conditioning.Input(
            "conditioning",
            tooltip="The prompts to evaluate on. Join several with Conditioning (Combine); each counts as one "
            "prompt. Use four or more for a reliable answer.",
        ),
        io.Sigmas.Input(
            "sigmas",
            tooltip="The noise levels that you sample with, from your scheduler node (Flux2Scheduler, BasicScheduler).",
        ),
        io.Latent.Input(
            "latent_image",
            tooltip="An empty latent of your size; the noisy latents are then the model's own. Or an encoded "
            "picture, to which noise is added.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**53,
            control_after_generate=False,
            tooltip="The first seed; every prompt and every further seed gets different noise.",
        ),
    ]


def reference_cfg_input(**options: Any) -> io.Input:
    """The guidance that a reference is compared at."""
    return io.Float.Input(
        "reference_cfg",
        default=0.0,
        min=0.0,
        max=30.0,
        step=0.1,
        tooltip="The CFG that the reference is compared at. A distilled model has absorbed more or less of its "
        "base's guidance; 0 measures how much, if negative is connected. 1 compares without guidance.",
        **options,
    )


def negative_input() -> io.Input:
    """The prompt that the reference is guided away from."""
    return io.Conditioning.Input(
        "negative",
        optional=True,
        tooltip="The negative (or empty) prompt that the reference is used with. Without one, the comparison is "
        "without guidance.",
    )


class PatchbayFeatureShift(io.ComfyNode):
    """Two models on the same noisy latents, block by block."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayFeatureShift",
            display_name="Feature Shift (Patchbay)",
            category=CATEGORY,
            description="Measures how far two models differ inside, block by block, on the same noisy latents. With "
            "the LoRA's own model connected too, it says whether the LoRA does here what it did there.",
            search_aliases=["activations", "features", "compare models", "lora transfer", "distilled"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model_a", tooltip="The model without the LoRA, or the first of two models."),
                io.Model.Input("model_b", tooltip="The same model with the LoRA, or the second of two models."),
                *probe_inputs(),
                io.Int.Input(
                    "seeds",
                    default=2,
                    min=1,
                    max=64,
                    tooltip="Seeds per prompt. With two or more, every shift is compared with what a different seed "
                    "changes.",
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
                    "use_cache",
                    default=True,
                    advanced=True,
                    tooltip="On: a model that was measured on the same latents before is not run again. Its "
                    "measurements are kept in ComfyUI's user folder.",
                ),
                reference_cfg_input(advanced=True),
                io.Model.Input(
                    "reference_a",
                    optional=True,
                    tooltip="The model that the LoRA was trained on, without it. With reference_b, the node measures "
                    "whether the LoRA's effect survives on model_a.",
                ),
                io.Model.Input(
                    "reference_b", optional=True, tooltip="The model that the LoRA was trained on, with it."
                ),
                negative_input(),
            ],
            outputs=report_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model_a: Any,
        model_b: Any,
        conditioning: Any,
        sigmas: Any,
        latent_image: Any,
        seed: int,
        seeds: int,
        levels: int = 4,
        use_cache: bool = True,
        reference_cfg: float = 0.0,
        reference_a: Any = None,
        reference_b: Any = None,
        negative: Any = None,
    ) -> io.NodeOutput:
        if (reference_a is None) != (reference_b is None):
            raise PatchbayError(
                "reference_a and reference_b belong together: the LoRA's own model without and with the LoRA. "
                "Connect both, or none."
            )
        settings = ProbeSettings(conditioning, latent_image, sigmas, seed, seeds, levels)
        reference = None if reference_a is None else (reference_a, reference_b)
        if reference is not None:
            check_reference_cfg(reference_cfg, negative is not None)
        measured = measure_shift(
            model_a, model_b, settings, reference, use_cache, cls.hidden.unique_id, reference_cfg, negative
        )
        text = f"{report_text(measured.report)}\n{shift_text(measured.table)}\n"
        ui = {
            "patchbay_shift": [shift_data(measured)],
            "patchbay_report": [to_json(measured.report)],
            "text": [text],
        }
        return io.NodeOutput(measured.report, text, ui=with_inputs(ui))


def shift_data(measured: Measured) -> dict[str, Any]:
    """What the picture on the node is drawn from."""
    report = measured.report
    return {
        **picture_data(report, measured.table, "patchbay.shift"),
        "bounds": [SAME, LARGELY, PARTLY],
    }
