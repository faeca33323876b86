"""A new LoRA for another model, taught by the model that the old one was trained on."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.files.names import file_in_folder
from .core.report.report import to_json
from .core.report.text import report_text
from .core.transfer.guidance import check_reference_cfg
from .core.transfer.teach_report import teach_text
from .host.comfyui.folders import writable_lora_folder
from .host.comfyui.lora_input import lora_file, lora_file_input, lora_fingerprint
from .host.teach.reporting import report_on
from .host.teach.teach import TeachSettings, teach_lora
from .sockets import CATEGORY, report_outputs, with_inputs


def _advanced_inputs() -> list[io.Input]:
    """How it is taught."""
    return [
        io.Float.Input("cfg", default=1.0, min=1.0, max=30.0, step=0.1, advanced=True,
                       tooltip="The CFG that you sample this model with. Above 1 the negative prompt is taught too."),
        io.Float.Input("reference_cfg", default=0.0, min=0.0, max=30.0, step=0.1, advanced=True,
                       tooltip="The CFG that the reference teaches with. 0: the guidance that this model has built in "
                       "is measured, if negative is connected."),
        io.Int.Input("rank", default=0, min=0, max=256, advanced=True,
                     tooltip="Rank of the new LoRA. 0: the largest rank of the file."),
        io.String.Input("layers", default="", advanced=True,
                        tooltip="Words, with commas: only layers with one of them in their name are taught. Empty: "
                        "every kind of layer that the LoRA changes."),
        io.Int.Input("batch", default=0, min=0, max=256, advanced=True,
                     tooltip="Noisy latents in each step. 0: 16 of small ones, else 1."),
        io.Int.Input("rounds", default=4, min=1, max=64, advanced=True,
                     tooltip="How often the examples are made anew, along this model's own walk. An interrupted run "
                     "goes on from its last round."),
        io.Float.Input("rate", default=1.0, min=0.01, max=100.0, step=0.01, advanced=True,
                       tooltip="Times the learning rate that goes with the model's width."),
    ]  # fmt: skip


def _models() -> list[io.Input]:
    return [
        io.Conditioning.Input("negative", optional=True, tooltip="The negative (or empty) prompt. With it, the "
                              "guidance that this model has built in is measured."),
        io.Conditioning.Input("reference_conditioning", optional=True, tooltip="The same prompts for the reference, "
                              "where its text encoder is another one."),
        io.Conditioning.Input("reference_negative", optional=True, tooltip="The negative prompt for the reference, "
                              "where its text encoder is another one."),
    ]  # fmt: skip


class PatchbayTransferLora(io.ComfyNode):
    """Teaches a LoRA to another model and writes it as a new file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayTransferLora",
            display_name="Transfer LoRA (Patchbay)",
            category=CATEGORY,
            description="Makes a new LoRA that does on this model what a LoRA does on its own model: no pictures, no "
            "captions. The LoRA's own model is the teacher; prompts that were held out decide whether the result is "
            "written.",
            search_aliases=["distill lora", "convert lora", "teach", "train lora", "port lora"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model that you will use, without the LoRA."),
                io.Model.Input("reference", tooltip="The model that the LoRA was trained on, without it."),
                lora_file_input(),
                io.Conditioning.Input("conditioning", tooltip="Prompts of the kind that you use. Join several with "
                                      "Conditioning (Combine); eight or more. Every fourth is held out."),
                io.Sigmas.Input("sigmas", tooltip="The noise levels that you sample this model with, from your "
                                "scheduler node."),
                io.Latent.Input("latent_image", tooltip="An empty latent of your size."),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=False,
                             tooltip="Decides the noise, the order of the examples and the new factors."),
                io.Int.Input("steps", default=300, min=1, max=100_000, tooltip="Training steps. The time is said "
                             "before the run; 300 are enough for a first answer. It ends earlier when more steps "
                             "bring nothing."),
                io.String.Input("file_name", default="transferred", tooltip="The new file in models/loras. It is "
                                "written only if it is certainly better; a name that is taken gets a number."),
                *_advanced_inputs(),
                *_models(),
            ],
            outputs=[
                io.String.Output("file_name", tooltip="The new file as the list of LoRAs names it; empty if none was "
                                 "written."),
                *report_outputs(),
            ],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, file_name: str | None = None) -> bool | str:
        try:
            if file_name is not None:
                file_in_folder(writable_lora_folder(), file_name, "loras")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: object) -> str:
        return lora_fingerprint(lora_name)

    @classmethod
    def execute(
        cls,
        model: Any,
        reference: Any,
        lora_name: str,
        conditioning: Any,
        sigmas: Any,
        latent_image: Any,
        seed: int,
        steps: int,
        file_name: str,
        cfg: float = 1.0,
        reference_cfg: float = 0.0,
        rank: int = 0,
        layers: str = "",
        batch: int = 0,
        rounds: int = 4,
        rate: float = 1.0,
        negative: Any = None,
        reference_conditioning: Any = None,
        reference_negative: Any = None,
    ) -> io.NodeOutput:
        check_reference_cfg(reference_cfg, negative is not None)
        if cfg > 1 and negative is None:
            raise PatchbayError(f"cfg is {cfg:g}, but no negative prompt is connected. Connect one, or set cfg to 1.")
        settings = TeachSettings(
            conditioning, sigmas, latent_image, negative, reference_conditioning, reference_negative, seed, steps, cfg,
            reference_cfg, rank, layers, batch, rounds=rounds, rate=rate, file_name=file_name,
        )  # fmt: skip
        taught = teach_lora(model, reference, lora_file(lora_name), lora_name, settings, cls.hidden.unique_id)
        report = report_on(taught, model, settings, lora_name)
        text = f"{report_text(report)}\n{teach_text(taught.judged)}\n"
        ui = {"patchbay_report": [to_json(report)], "text": [text]}
        return io.NodeOutput(taught.written, report, text, ui=with_inputs(ui))
