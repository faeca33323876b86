"""Measure a model while any sampler uses it, and report what was seen."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from comfy_api.latest import io

from .core.measure.picture import measurement_picture, shown_runs
from .core.measure.report import build_measurement
from .core.measure.runs import Measurement, measurement_json
from .core.measure.text import measurement_text
from .host.measure.context import machine_context, model_context
from .host.measure.recorder import Recorder, attach
from .host.measure.results import save_measurement
from .host.measure.run import RecorderOptions
from .sockets import CATEGORY, report_outputs, with_inputs

RecorderSocket = io.Custom("PATCHBAY_RECORDER")
"""A :class:`host.recorder.Recorder`."""


class PatchbayMeasure(io.ComfyNode):
    """A model that notes how long each evaluation took and where memory went."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayMeasure",
            display_name="Measure (Patchbay)",
            category=CATEGORY,
            description="Measures every sampling run with this model: time of each evaluation, loading, LoRA "
            "arithmetic, and memory by what it is used for. Put it last before the sampler; Measure Report shows "
            "the result.",
            search_aliases=["profiler", "vram", "benchmark", "step time", "it/s", "speed", "memory use"],
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model to measure, with all its LoRAs."),
                io.String.Input(
                    "condition",
                    default="model",
                    tooltip="What this model is called in the table, for example: with LoRA.",
                ),
                RecorderSocket.Input(
                    "recorder",
                    optional=True,
                    tooltip="The recorder of another Measure node: both models then appear in one table, and the "
                    "others are compared with the first.",
                ),
                io.Boolean.Input(
                    "block_times",
                    default=False,
                    advanced=True,
                    tooltip="Also times every block of the model and, on NVIDIA and AMD, its memory. Adds a little "
                    "time itself; not available with torch.compile.",
                ),
                io.Boolean.Input(
                    "strict",
                    default=False,
                    advanced=True,
                    tooltip="Waits for the device before and after every evaluation. Slower than a normal run; only "
                    "to check the normal times.",
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The same model, measured whenever a sampler uses it."),
                RecorderSocket.Output("recorder", tooltip="For Measure Report, or for the next Measure node."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        condition: str,
        block_times: bool = False,
        strict: bool = False,
        recorder: Recorder | None = None,
    ) -> io.NodeOutput:
        measured, joined = attach(model, condition, RecorderOptions(block_times, strict), recorder)
        channel = joined.channels[-1]
        channel.context.update(model_context(model), device=model.load_device)
        return io.NodeOutput(measured, joined)


class PatchbayMeasureReport(io.ComfyNode):
    """What the recorder saw."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        after = (
            io.AnyType.Input(
                name,
                optional=name != "after",
                tooltip="The result of a sampler that uses a measured model, or anything made from it: this node waits "
                "for it."
                if name == "after"
                else "The result of one more sampler, where several models are measured.",
            )
            for name in ("after", "after_2", "after_3", "after_4")
        )
        return io.Schema(
            node_id="PatchbayMeasureReport",
            display_name="Measure Report (Patchbay)",
            category=CATEGORY,
            description="Shows what the measured models cost: steady and first evaluation, loading, memory and why "
            "it is slow, one column for each Measure node.",
            search_aliases=["vram", "benchmark", "step time", "it/s", "speed", "memory use", "profiler"],
            is_output_node=True,
            inputs=[
                RecorderSocket.Input("recorder", tooltip="The recorder of the last Measure node."),
                *after,
                io.Boolean.Input(
                    "save_results",
                    default=True,
                    tooltip="Adds the figures to user/default/lora-patchbay/measurements.jsonl on this machine, "
                    "where they can be listed and compared later.",
                ),
            ],
            outputs=measurement_outputs(),
        )

    @classmethod
    def execute(cls, recorder: Recorder, save_results: bool = True, **_: Any) -> io.NodeOutput:
        report = build_measurement("measure", recorder.runs, recorder.labels, recorder_context(recorder))
        return measurement_output(report, save_results)


def measurement_outputs() -> list[io.Output]:
    """What every node with a measurement gives."""
    return [
        *report_outputs(),
        io.Image.Output("picture", tooltip="Each evaluation and the memory as bars, for saving or sharing."),
        io.String.Output("json", tooltip="All figures as JSON, with the conditions under which they were measured."),
    ]


def recorder_context(recorder: Recorder) -> dict[str, Any]:
    """Versions and device, and for each condition its model and LoRAs."""
    devices = [channel.context["device"] for channel in recorder.channels if "device" in channel.context]
    context = machine_context(devices[0]) if devices else {}
    own = {
        channel.condition: {name: value for name, value in channel.context.items() if name != "device"}
        for channel in recorder.channels
    }
    return context | {"conditions": own}


def measurement_output(report: Measurement, save: bool, *first: Any) -> io.NodeOutput:
    """Save, draw and show a measurement; ``first`` are outputs before the common ones."""
    if save and report.conditions:
        _, note = save_measurement(measurement_json(report))
        report = dataclasses.replace(report, notes=(*report.notes, note))
    data, text = measurement_json(report), measurement_text(report)
    picture = measurement_picture(report).unsqueeze(0)
    # The page shows two runs of each condition; all of them are in the JSON output and in the saved line.
    shown = tuple(run for condition in report.conditions for run in shown_runs(report, condition.label))
    ui = {"patchbay_measurement": [measurement_json(dataclasses.replace(report, runs=shown))], "text": [text]}
    return io.NodeOutput(*first, report, text, picture, json.dumps(data, indent=1), ui=with_inputs(ui))
