"""Which epoch, which strength: one picture for every combination, on a labelled sheet."""

from __future__ import annotations

from typing import Any

import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io

from .core.errors import PatchbayError
from .core.grid.axes import folders_of, read_lines, read_numbers
from .core.grid.plan import AUTO, GridPlan, plan_grid, read_reference
from .core.grid.report import NO_LORA, GridReport, build_grid_report, grid_text
from .core.grid.sheets import grid_sheets
from .core.report.report import to_json
from .core.strengths.text import parse_block_strengths
from .host.comfyui.lora_input import NONE, lora_fingerprint
from .host.comfyui.shown_pictures import ShownPictures
from .host.grid.cells import CellMaker, CellSettings, one_latent
from .host.grid.files import grid_store, save_sheets
from .host.grid.inputs import AXES, LETTERS, chosen_loras, grid_axes, grid_prompts, lettered
from .host.grid.run import Arrived, GridOutcome, GridRun, lora_notes, run_grid
from .host.grid.staging import GridModel, Stages
from .sockets import CATEGORY, method_inputs, report_outputs, sampling_inputs, with_inputs

_unfinished = [0]
"""Counts grids that ended with pictures missing: their inputs are the same the next time, and yet they have to run."""


class PatchbayLoraGrid(io.ComfyNode):
    """Samples by itself, so that all cells get the same noise and a LoRA is staged once for all that share it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayLoraGrid",
            display_name="LoRA Grid (Patchbay)",
            category=CATEGORY,
            description="Makes a picture for every combination of LoRAs (a folder of epochs, for example), strengths, "
            "block strengths, prompts, seeds and models, puts them on a labelled sheet, and measures how far each is "
            "from one of them. What is made stays: a grid that was stopped goes on where it was.",
            search_aliases=["xy plot", "xyz plot", "epochs", "compare loras", "contact sheet", "strength sweep"],
            is_output_node=True,
            inputs=[*_subject_inputs(), *_axis_inputs(), *_run_inputs(), *_more_inputs()],
            outputs=[
                io.Image.Output(
                    "images", tooltip="The pictures as one batch, in the order of the report, as far as they are made."
                ),
                io.Image.Output("sheet", tooltip="The labelled sheets, one for each page."),
                *report_outputs(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def validate_inputs(cls, strengths: str | None = None, blocks: str | None = None) -> bool | str:
        try:
            if strengths is not None:
                read_numbers(strengths, "strengths")
            for value in read_lines(blocks or "", "blocks"):
                parse_block_strengths(str(value.value))
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(
        cls, lora_name: str | None = None, folder: str | None = None, more_loras: str | None = None, **_: object
    ) -> str:
        linked = lora_fingerprint(None) if None in (lora_name, folder, more_loras) else ""
        try:
            files = chosen_loras(lora_name or NONE, folder or NONE, more_loras or "")
        except PatchbayError as error:
            return f"{linked}{error}"
        return "; ".join((str(_unfinished[0]), linked, *map(lora_fingerprint, files)))

    @classmethod
    def execute(
        cls,
        model: Any,
        negative: Any,
        latent_image: dict[str, Any],
        vae: Any,
        lora_name: str,
        folder: str,
        strengths: str,
        blocks: str,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        seeds: int,
        reference: str,
        time_budget: float,
        method: str = "auto",
        as_stock: bool = False,
        rows: str = AUTO,
        columns: str = AUTO,
        more_loras: str = "",
        prompts: str = "",
        use_cache: bool = True,
        filename_prefix: str = "lora-patchbay/grid",
        positive: Any = None,
        clip: Any = None,
        **more: Any,
    ) -> io.NodeOutput:
        models = lettered(model, more, "model")
        subjects = grid_prompts(lettered(positive, more, "positive"), prompts, clip)
        axes = grid_axes(
            [letter for letter, _ in models], chosen_loras(lora_name, folder, more_loras), strengths, blocks,
            [prompt.label for prompt in subjects], seed, seeds,
        )  # fmt: skip
        plan = plan_grid(axes, rows, columns)
        plain = reference.strip().casefold() == NO_LORA.casefold()
        cell = None if plain or not reference.strip() else read_reference(reference, plan.axes)
        stages = Stages([GridModel(letter, each) for letter, each in models], clip, method, as_stock, steps)
        settings = CellSettings(
            tuple(subjects), negative, one_latent(latent_image), steps, cfg, sampler_name, scheduler, vae
        )
        maker = CellMaker(stages, settings, grid_store() if use_cache else None)
        shown = ShownPictures("patchbay_grid")
        outcome = run_grid(GridRun(plan, cell, plain, steps, time_budget), maker, _progress(shown))
        if outcome.stopped:
            _unfinished[0] += 1
        report = _report(plan, outcome, stages, reference.strip(), latent_image, clip)
        return _output(plan, outcome, report, shown, filename_prefix, cls.hidden)


def _output(
    plan: GridPlan, outcome: GridOutcome, report: GridReport, shown: ShownPictures, prefix: str, hidden: Any
) -> io.NodeOutput:
    pictures = outcome.result.pictures
    if not pictures:
        failed = next((cell.note for cell in report.cells if cell.note), "the time was spent before the first one")
        raise PatchbayError(f"grid: no picture was made: {failed}")
    sheets = grid_sheets(plan, report, pictures)
    prompt, extra = (None, None) if hidden is None else (hidden.prompt, hidden.extra_pnginfo)
    data = to_json(report)
    data["pages"] = _pages(plan)
    data["sheets"] = save_sheets(sheets, prefix, prompt, extra) if prefix.strip() else []
    for index, cell in zip(plan.cells, data["cells"], strict=True):
        cell["picture"] = shown.add(str(index), pictures[index]) if index in pictures else None
    text = grid_text(report)
    ui = with_inputs({"patchbay_grid": [data], "text": [text]})
    return io.NodeOutput(
        _batch([pictures[i] for i in plan.cells if i in pictures]), _batch(sheets), report, text, ui=ui
    )


def _pages(plan: GridPlan) -> list[dict[str, Any]]:
    """The pages as the panel lays them out; cells by their place in the report."""
    place = {index: number for number, index in enumerate(plan.cells)}
    return [
        {
            "title": page.title, "rows": list(page.rows), "columns": list(page.columns),
            "cells": [[place[index] for index in row] for row in page.cells],
        }
        for page in plan.pages
    ]  # fmt: skip


def _report(
    plan: GridPlan, outcome: GridOutcome, stages: Stages, reference: str, latent: dict[str, Any], clip: Any
) -> GridReport:
    notes = lora_notes(list(stages.reports.items()))
    if outcome.stopped:
        notes.insert(0, outcome.stopped)
    if len(latent["samples"]) > 1:
        notes.append(f"Of {len(latent['samples'])} latents, only the first is used: every cell is one picture.")
    loras = next(axis for axis in plan.axes if axis.name == "lora")
    name = str(loras.values[0].label) if not loras.varies else f"{len(loras.values)} LoRAs"
    return build_grid_report(plan, outcome.result, name, reference, outcome.floor, notes)


def _progress(shown: ShownPictures) -> Any:
    """ComfyUI's bar, and pictures on the node as they come."""
    bar = comfy.utils.ProgressBar(1)

    def progress(done: int, total: int, arrived: Arrived | None) -> None:
        bar.update_absolute(done, total)
        if arrived is not None:
            name = str(arrived.label if arrived.index is None else arrived.index)
            shown.show(name, arrived.picture, arrived.label, arrived.number, arrived.of)

    return progress


def _batch(pictures: list[torch.Tensor]) -> torch.Tensor:
    """Pictures as one batch; smaller ones stand in the upper left corner of a grey picture of the largest size."""
    height, width = (max(picture.shape[side] for picture in pictures) for side in (0, 1))
    batch = torch.full((len(pictures), height, width, 3), 0.8)
    for place, picture in zip(batch, pictures, strict=True):
        place[: picture.shape[0], : picture.shape[1]] = picture
    return batch


def _subject_inputs() -> list[Any]:
    """What is sampled."""
    return [
        io.Model.Input("model", tooltip="The model without the LoRAs of the grid."),
        io.Conditioning.Input("negative", tooltip="The negative prompt, for all cells; has no effect at CFG 1."),
        io.Latent.Input("latent_image", tooltip="The latent to sample: its size is the size of every picture."),
        io.Vae.Input("vae", tooltip="Turns every result into a picture."),
        io.Conditioning.Input("positive", optional=True, tooltip="The prompt. Not needed with clip and prompts."),
        io.Clip.Input(
            "clip",
            optional=True,
            tooltip="The text encoder, for prompts. LoRAs that also change the text encoder change it here.",
        ),
        *(
            io.Model.Input(f"model_{letter}", optional=True, tooltip="Another model, to compare with the same LoRAs.")
            for letter in LETTERS
        ),
        *(
            io.Conditioning.Input(f"positive_{letter}", optional=True, tooltip="Another prompt for every cell.")
            for letter in LETTERS
        ),
    ]


def _axis_inputs() -> list[Any]:
    """What differs between the cells."""
    names = folder_paths.get_filename_list("loras")
    folders = folders_of(names)
    return [
        io.Combo.Input(
            "lora_name",
            options=[NONE, *names],
            default=NONE,
            tooltip="The LoRA, or the first of several; none where a folder is chosen.",
        ),
        io.Combo.Input(
            "folder",
            options=[NONE, *folders],
            default=NONE,
            tooltip="A folder inside your loras folders: all files in it, epochs in their order, the finished file "
            "last.",
        ),
        io.String.Input(
            "strengths",
            default="0.5, 0.75, 1.0",
            tooltip="Strengths for model and text encoder, separated by commas. 0 is the model without the LoRA.",
        ),
        io.String.Input(
            "blocks",
            default="",
            multiline=True,
            tooltip="Block strengths, one text a line, as in Apply LoRA: single_blocks.*=0. Empty: 1 everywhere. An "
            "empty line between others is also 1 everywhere.",
        ),
    ]


def _run_inputs() -> list[Any]:
    """How all cells are sampled."""
    return [
        *sampling_inputs(),
        io.Int.Input("seeds", default=1, min=1, max=64, tooltip="How many seeds, counted up from seed."),
        io.String.Input(
            "reference",
            default=NO_LORA,
            tooltip="What every cell is compared with: without LoRA, or a cell such as strength=1 or lora=style-40, "
            "strength=0.8 (the same seed, prompt and model as the cell itself unless named), or first. Empty: nothing "
            "is compared.",
        ),
        io.Float.Input(
            "time_budget",
            default=600.0,
            min=1.0,
            max=86400.0,
            step=1.0,
            tooltip="Seconds to spend. What is not made by then is made when you run again.",
        ),
        *method_inputs(),
    ]


def _more_inputs() -> list[Any]:
    """What is rarely needed."""
    names = [AUTO, *AXES]
    return [
        io.Combo.Input(
            "rows",
            options=names,
            default=AUTO,
            optional=True,
            advanced=True,
            tooltip="What runs down the sheet. auto: the first that has several values. What is neither row nor "
            "column makes a page of its own for each value.",
        ),
        io.Combo.Input(
            "columns",
            options=names,
            default=AUTO,
            optional=True,
            advanced=True,
            tooltip="What runs across the sheet. auto: the second that has several values.",
        ),
        io.String.Input(
            "more_loras",
            default="",
            multiline=True,
            optional=True,
            advanced=True,
            tooltip="More LoRAs, one a line: a file, a folder (my-training/), or a pattern (my-training/style-*).",
        ),
        io.String.Input(
            "prompts",
            default="",
            multiline=True,
            optional=True,
            advanced=True,
            tooltip="Prompts, one a line; needs clip.",
        ),
        io.Boolean.Input(
            "use_cache",
            default=True,
            optional=True,
            advanced=True,
            tooltip="On: a picture that was made before from the same model, LoRA, prompt and settings is not made "
            "again. Pictures are kept in ComfyUI's user folder, up to 4 GB.",
        ),
        io.String.Input(
            "filename_prefix",
            default="lora-patchbay/grid",
            optional=True,
            advanced=True,
            tooltip="Where the sheets are saved in the output folder, with the workflow inside. Empty: not saved.",
        ),
    ]
