"""What does it cost? Samples two or more models again and again and tells them apart from noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import comfy.utils
import torch
from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.images.metrics import compare_pictures
from .core.measure.conditions import label_conditions, parse_conditions
from .core.measure.report import build_measurement
from .core.measure.runs import OutputDifference
from .core.measure.verdict import compare_outputs
from .host.measure.benchmark import BenchCondition, BenchResult, BenchSettings, run_benchmark
from .host.measure.context import model_context
from .measure import measurement_output, measurement_outputs, recorder_context
from .sockets import CATEGORY, sampling_inputs

LETTERS = ("a", "b", "c", "d", "e", "f")


class PatchbayBenchmark(io.ComfyNode):
    """Runs the sampler itself, so that no cache can skip a run and every condition gets the same noise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayBenchmark",
            display_name="Benchmark (Patchbay)",
            category=CATEGORY,
            description="Samples each model several times with the same noise and says what a LoRA, a method or a "
            "format costs: step time, switching time and memory, with confidence intervals, and whether the results "
            "differ by more than two runs of one model do.",
            search_aliases=["lora cost", "compare speed", "vram", "a/b test", "step time", "ab benchmark"],
            is_output_node=True,
            not_idempotent=True,
            inputs=[*_model_inputs(), *_run_inputs()],
            outputs=[
                io.Latent.Output(
                    "latents", tooltip="The last result of each model, as one batch in the order of the models."
                ),
                *measurement_outputs(),
            ],
        )

    @classmethod
    def validate_inputs(cls, conditions: str | None = None) -> bool | str:
        try:
            parse_conditions(conditions or "")
        except PatchbayError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model_a: Any,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        conditions: str,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        time_budget: float,
        precision: float,
        save_results: bool = True,
        block_times: bool = False,
        vae: Any = None,
        **more: Any,
    ) -> io.NodeOutput:
        connected = {"a": model_a} | {name[-1]: model for name, model in more.items() if model is not None}
        letters = [letter for letter in LETTERS if letter in connected]
        lines = label_conditions(conditions, letters)
        rows = [
            BenchCondition(line.label, connected[letter], line.steps or steps, cfg if line.cfg is None else line.cfg)
            for letter, line in zip(letters, lines, strict=True)
        ]
        settings = BenchSettings(
            positive=positive,
            negative=negative,
            latent=latent_image,
            seed=seed,
            sampler_name=sampler_name,
            scheduler=scheduler,
            budget_s=time_budget,
            precision=precision / 100,
            blocks=block_times,
        )
        bar = comfy.utils.ProgressBar(1)
        result = run_benchmark(rows, settings, bar.update_absolute)
        for row, channel in zip(rows, result.recorder.channels, strict=True):
            channel.context.update(model_context(row.model), device=row.model.load_device, cfg=row.cfg)
        context = recorder_context(result.recorder) | {"seed": seed, "sampler": sampler_name, "scheduler": scheduler}
        report = build_measurement(
            "benchmark",
            result.recorder.runs,
            result.recorder.labels,
            context,
            compare_results(result, [line.against - 1 for line in lines], vae),
            [f"{result.cycles} cycles of two runs of each model; stopped because {result.stopped_by}."],
            {line.label: lines[line.against - 1].label for line in lines},
        )
        last = [latents[-1] for latents in result.latents]
        batch = torch.cat([latent for latent in last if latent.shape[1:] == last[0].shape[1:]])
        return measurement_output(report, save_results, {"samples": batch})


def _model_inputs() -> list[Any]:
    """The models, and what they sample."""
    return [
        io.Model.Input("model_a", tooltip="The model that the others are compared with, usually without LoRA."),
        io.Model.Input("model_b", optional=True, tooltip="A second model, for example with the LoRA."),
        *(
            io.Model.Input(
                f"model_{letter}",
                optional=True,
                tooltip="One more model for the table: another method, format, strength or LoRA.",
            )
            for letter in LETTERS[2:]
        ),
        io.Conditioning.Input("positive", tooltip="The prompt, the same for all models."),
        io.Conditioning.Input("negative", tooltip="The negative prompt; has no effect at CFG 1."),
        io.Latent.Input("latent_image", tooltip="The latent to sample: its size is the picture's size."),
        io.Vae.Input(
            "vae",
            optional=True,
            tooltip="If connected, the results are also compared as pictures, after all runs.",
        ),
    ]


def _run_inputs() -> list[Any]:
    """How they are sampled, and for how long."""
    return [
        io.String.Input(
            "conditions",
            default="without LoRA\nwith LoRA",
            multiline=True,
            tooltip="One line for each connected model, in order: its name, then a vertical bar and its own "
            "settings, for example steps=4 cfg=1 against=3. against=N compares this model with line N instead of "
            "line 1.",
        ),
        *sampling_inputs(),
        io.Float.Input(
            "time_budget",
            default=60.0,
            min=1.0,
            max=3600.0,
            step=1.0,
            tooltip="Seconds to spend. At least four runs of each model are made, however long they take.",
        ),
        io.Float.Input(
            "precision",
            default=1.0,
            min=0.1,
            max=50.0,
            step=0.1,
            tooltip="Stop early once every ratio of step times is known to within this many percent.",
        ),
        io.Boolean.Input(
            "save_results",
            default=True,
            tooltip="Adds the figures to user/default/lora-patchbay/measurements.jsonl on this machine, where they "
            "can be listed and compared later.",
        ),
        io.Boolean.Input(
            "block_times",
            default=False,
            advanced=True,
            tooltip="Also times every block of the models. Adds a little time itself; not available with "
            "torch.compile.",
        ),
    ]


def compare_results(
    result: BenchResult, against: list[int], vae: Any
) -> dict[str, tuple[OutputDifference | None, OutputDifference | None]]:
    """Latents and pictures of every condition against the one with the index ``against``, by label."""
    pictures = [[_decode(vae, latent) for latent in latents[:2]] for latents in result.latents] if vae else []
    found: dict[str, tuple[OutputDifference | None, OutputDifference | None]] = {}
    for index, label in enumerate(result.recorder.labels[1:], 1):
        first = against[index]
        latents = compare_outputs(result.latents[first], result.latents[index])
        images = compare_images(pictures[first], pictures[index]) if pictures else None
        found[label] = (latents, images)
    return found


def compare_images(a: list[torch.Tensor], b: list[torch.Tensor]) -> OutputDifference:
    """The verdict on pictures [height, width, 3], with PSNR and SSIM of the last ones."""
    difference = compare_outputs(a, b, "pictures")
    if difference.verdict == "unknown" or a[-1].shape != b[-1].shape:
        return difference
    metrics = compare_pictures(a[-1], b[-1])
    return dataclasses.replace(difference, psnr=metrics.psnr, ssim=metrics.ssim)


def _decode(vae: Any, latent: torch.Tensor) -> torch.Tensor:
    """The first picture of a latent, values in 0..1, in main memory."""
    pictures = vae.decode(latent[:1])
    pictures = pictures.reshape(-1, *pictures.shape[-3:])
    return pictures[0].to("cpu", torch.float32).clamp(0.0, 1.0)
