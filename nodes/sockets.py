"""Socket types and widget texts that several nodes share."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import comfy.samplers
from comfy_api.latest import io

from .core.measure.method_costs import METHODS
from .core.prompts.links import reads_output
from .core.prompts.steps import steps_after
from .core.report.inputs import inputs_json
from .core.report.report import Report as ApplyReport
from .core.report.report import to_json
from .host.comfyui.running import running_inputs
from .host.inspect.ran_models import RAN_MODELS
from .host.norms.later import LATE_SIZES

CATEGORY = "LoRA Patchbay"

Report = io.Custom("PATCHBAY_REPORT")
"""A :class:`core.report.report.Report`."""

LoraStack = io.Custom("LORA_STACK")
"""The community's list of ``(lora name, strength_model, strength_clip)``, see :mod:`core.strengths.stack`."""

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}

SHOWS_RESULT: dict[str, Any] = {"has_intermediate_output": True} if "has_intermediate_output" in _SCHEMA_FIELDS else {}
"""For the schema of a node in the middle of a workflow whose result is shown on the page.

ComfyUI sends the result of such a node again where the node comes from the cache; one that does not know the field
sends only those of output nodes.
"""


def report_outputs() -> list[io.Output]:
    """The two outputs that every node with a report has."""
    return [
        Report.Output("report", tooltip="The whole report, for other Patchbay nodes."),
        io.String.Output("text", tooltip="The same report as readable text."),
    ]


def reads_report(hidden: Any, outputs: Collection[int] = (2, 3)) -> bool:
    """Whether another node takes the report or its text, so that all of it has to be there at once."""
    return hidden is not None and reads_output(hidden.prompt, hidden.unique_id, outputs)


def report_json(report: ApplyReport) -> dict[str, Any]:
    """The report for the page, which can ask for the sizes that were left out."""
    return to_json(LATE_SIZES.keep_report(report))


def with_inputs(ui: dict[str, Any], model: Any = None) -> dict[str, Any]:
    """A node's ``ui`` whose results say which inputs made them, so that the page never shows them for others.

    Args:
        model: What came in at the input ``model``: the page can then ask what fits it.
    """
    inputs = running_inputs()
    if inputs is None:
        return ui
    if model is not None:
        RAN_MODELS.keep(inputs.model, model)
    made = inputs_json(inputs)
    return {
        name: [{**value, "inputs": made} for value in values] if name.startswith("patchbay_") else values
        for name, values in ui.items()
    }


BLOCK_MAP = (
    "For a model that was made from the LoRA's own by inserting or removing blocks: which of its blocks each block of "
    "the file is. Empty: the same number. auto: the published map, where the depths differ (Anima, 28 to 40 blocks). "
    "Or a text: blocks: 0->0, 1->1, 2->3, 3->- (- has no counterpart and is left out). lora-patchbay remap measures a "
    "map. A file that is renumbered already is never renumbered twice."
)
"""Tooltip of the input ``block_map``."""


def strength_input(name: str, tooltip: str) -> io.Input:
    """The strength of a LoRA: any real number that a slider can reach."""
    return io.Float.Input(name, default=1.0, min=-100.0, max=100.0, step=0.01, tooltip=tooltip)


METHOD = (
    "auto: right first: merged into whole weights; alongside quantised weights if rounding would drown it. The report "
    "says what merging would have kept. merge: the change is added to the weights, so sampling steps cost nothing "
    "extra. bypass: the change is computed alongside the weights, so a new strength costs nothing and quantised "
    "weights are not rounded again, but every step costs a little more. cheapest: the cheaper of the two for this "
    "model and number of steps; if only the steps change, the choice stays."
)
"""Tooltip of the input ``method``."""


def method_inputs(folded: bool = True) -> list[io.Input]:
    """How a LoRA is applied, on every node that applies one.

    Args:
        folded: Leave ``as_stock`` to the frontend's advanced inputs; a node that shows its values itself does not.
    """
    return [
        io.Combo.Input(
            "method",
            options=list(METHODS),
            default=METHODS[0],
            tooltip=METHOD,
        ),
        io.Boolean.Input(
            "as_stock",
            default=False,
            advanced=folded,
            tooltip="Off: every layer as the program that wrote the file intended. On: exactly what ComfyUI's own LoRA "
            "loader does with the file, bit for bit. The report says where the two differ.",
        ),
    ]


def steps_for(method: str, hidden: Any) -> int | None:
    """The sampling steps after a node, where its method depends on them."""
    return steps_after(hidden.prompt, hidden.unique_id) if hidden is not None and method == "cheapest" else None


def sampling_inputs() -> list[io.Input]:
    """Noise, steps, guidance, sampler and scheduler, on every node that samples by itself."""
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=False,
            tooltip="The noise, the same in every run.",
        ),
        *sampler_inputs(2, "The sampler. Some evaluate the model more than once per step."),
    ]


def sampler_inputs(least_steps: int, sampler: str) -> list[io.Input]:
    """The same without the noise.

    Args:
        sampler: What the node says of its samplers.
    """
    return [
        io.Int.Input("steps", default=20, min=least_steps, max=10000, tooltip="Steps of a run."),
        io.Float.Input(
            "cfg", default=1.0, min=0.0, max=100.0, step=0.1, round=0.01, tooltip="Guidance scale of a run."
        ),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.KSampler.SAMPLERS,
            default="euler",
            tooltip=sampler,
        ),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.KSampler.SCHEDULERS,
            default="simple",
            tooltip="How the noise levels are spread over the steps.",
        ),
    ]
