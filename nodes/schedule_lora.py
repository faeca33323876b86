"""Apply a LoRA over the sampling steps, block by block, through ComfyUI's own hooks."""

from __future__ import annotations

from comfy_api.latest import io

from .core.report.report import to_json
from .core.report.text import report_text
from .core.strengths.schedule import check_window, parse_schedule
from .core.strengths.text import parse_block_strengths
from .host.apply.schedule import attach, schedule_lora
from .host.comfyui.lora_input import lora_file, lora_file_input, lora_fingerprint
from .sockets import CATEGORY, SHOWS_RESULT, report_outputs, with_inputs

JUMP, LINEAR = "jump", "linear"


class PatchbayScheduleLora(io.ComfyNode):
    """A LoRA whose strengths change while sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayScheduleLora",
            **SHOWS_RESULT,
            display_name="Schedule LoRA (Patchbay)",
            category=CATEGORY,
            description="Applies a LoRA for some of the sampling steps, or with block strengths that change between "
            "them, through ComfyUI's own hooks. The model is not changed: the conditioning carries the LoRA.",
            search_aliases=["lora schedule", "hook lora", "lora start end", "lora keyframes", "lora by step"],
            inputs=[*_lora_inputs(), *_time_inputs(), *_conditioning_inputs()],
            outputs=[
                io.Hooks.Output("hooks", tooltip="The LoRA as hooks, for ComfyUI's own nodes such as Cond Set Props "
                                "or Set CLIP Hooks."),
                io.Conditioning.Output("positive", tooltip="The positive conditioning with the LoRA; empty if none "
                                       "came in."),
                io.Conditioning.Output("negative", tooltip="The negative conditioning with the LoRA; empty if none "
                                       "came in."),
                *report_outputs(),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls,
        blocks: str | None = None,
        schedule: str | None = None,
        start_percent: float | None = None,
        end_percent: float | None = None,
    ) -> bool | str:
        try:
            parse_block_strengths(blocks or "")
            parsed = parse_schedule(schedule or "")
            if start_percent is not None and end_percent is not None:
                check_window(parsed, start_percent, end_percent)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: object) -> str:
        return lora_fingerprint(lora_name)

    @classmethod
    def execute(
        cls,
        model: object,
        lora_name: str,
        strength_model: float,
        strength_clip: float,
        blocks: str,
        schedule: str,
        start_percent: float,
        end_percent: float,
        transition: str,
        clip: object = None,
        positive: object = None,
        negative: object = None,
    ) -> io.NodeOutput:
        path = lora_file(lora_name)
        window = (start_percent, end_percent)
        strengths = (strength_model, strength_clip)
        made = schedule_lora(
            path, lora_name, model, clip, strengths, blocks, schedule, window, linear=transition == LINEAR
        )
        text = report_text(made.report)
        return io.NodeOutput(
            made.hooks,
            *attach(made.hooks, (positive, negative)),
            made.report,
            text,
            ui=with_inputs({"patchbay_report": [to_json(made.report)], "text": [text]}, model),
        )


def _lora_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="The diffusion model that will be sampled: the LoRA is matched with its "
                       "layers. It is not changed."),
        io.Clip.Input("clip", optional=True, tooltip="The text encoder, if the LoRA changes it too; then connect hooks "
                      "to Set CLIP Hooks."),
        lora_file_input(),
        io.Float.Input("strength_model", default=1.0, min=-100.0, max=100.0, step=0.01,
                       tooltip="How strongly the LoRA changes the diffusion model, multiplied with the strengths by "
                       "block."),
        io.Float.Input("strength_clip", default=1.0, min=-100.0, max=100.0, step=0.01,
                       tooltip="How strongly the LoRA changes the text encoder. Ignored when no CLIP is connected."),
        io.String.Input(
            "blocks",
            default="",
            multiline=True,
            tooltip="Strength by block, as in Apply LoRA, for the whole run. Strengths in the schedule override it. "
            "Empty: 1 everywhere. Example: all=0.8, single_blocks.*=0, te=0.7",
        ),
    ]  # fmt: skip


def _time_inputs() -> list[io.Input]:
    return [
        io.String.Input(
            "schedule",
            default="",
            multiline=True,
            tooltip="Strength by block from a moment on, one moment a line: 0%: all=1 and then 50%: "
            "double_blocks.*=0. Percents are ComfyUI's, by noise level; or count steps: step 0: all=1 and then step "
            "2: all=0. Empty: the same all the time.",
        ),
        io.Float.Input("start_percent", default=0.0, min=0.0, max=1.0, step=0.001,
                       tooltip="Before this part of the sampling the LoRA is off. Counted as ComfyUI does, by noise "
                       "level: 0 is the beginning."),
        io.Float.Input("end_percent", default=1.0, min=0.0, max=1.0, step=0.001,
                       tooltip="From this part of the sampling on the LoRA is off: 1 is the end."),
        io.Combo.Input(
            "transition", options=[JUMP, LINEAR], default=JUMP,
            tooltip="jump: a moment's strengths hold until the next moment. linear: they change evenly towards it. "
            "Each change of strength patches the weights it affects once more.",
        ),
    ]  # fmt: skip


def _conditioning_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("positive", optional=True, tooltip="The positive conditioning; it will carry the LoRA."),
        io.Conditioning.Input("negative", optional=True, tooltip="The negative conditioning. Connect it too, or the "
        "negative prompt is sampled without the LoRA."),
    ]  # fmt: skip
