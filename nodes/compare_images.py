"""Compare two pictures in numbers and on a difference picture whose scale never adapts."""

from __future__ import annotations

import dataclasses
import os
import secrets
from typing import Any

import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io

from .core.images.comparison import ComparePair, CompareReport, build_compare_report, compare_text, metrics_text
from .core.images.metrics import difference_picture
from .core.images.panels import side_by_side, to_pillow
from .core.prompts.used_loras import UsedLora, loras_before, used_text
from .core.report.report import to_json
from .sockets import CATEGORY, report_outputs, with_inputs


class PatchbayCompareImages(io.ComfyNode):
    """Two batches, pair by pair: MAE, PSNR, SSIM, the difference, and all of it in a viewer on the node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayCompareImages",
            display_name="Compare Images (Patchbay)",
            category=CATEGORY,
            description="Measures how much two pictures differ (MAE, PSNR, SSIM) and shows them side by side, under "
            "a slider, and as a difference picture on a fixed scale.",
            search_aliases=["image difference", "psnr", "ssim", "a/b", "before after", "compare lora"],
            is_output_node=True,
            inputs=[
                io.Image.Input("image_a", tooltip="The picture or batch on the left, usually without the LoRA."),
                io.Image.Input(
                    "image_b",
                    tooltip="The picture or batch on the right, of the same size; a batch of 1 is compared with "
                    "every picture of the other.",
                ),
                io.String.Input("label_a", default="without LoRA", tooltip="Label shown above image_a."),
                io.String.Input("label_b", default="with LoRA", tooltip="Label shown above image_b."),
                io.Float.Input(
                    "gain",
                    default=4.0,
                    min=0.1,
                    max=64.0,
                    step=0.1,
                    tooltip="Differences are multiplied by this number, the same for every picture; 1 shows them as "
                    "they are, at 4 a difference of 64 of 255 is white.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "difference",
                    tooltip="The absolute difference of every pair times gain: black where they are the same.",
                ),
                *report_outputs(),
                io.Image.Output(
                    "side_by_side",
                    tooltip="One labelled picture per pair, with image_a, image_b, their difference and the figures.",
                ),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, image_a: torch.Tensor, image_b: torch.Tensor, label_a: str, label_b: str, gain: float
    ) -> io.NodeOutput:
        hidden = cls.hidden
        prompt, node_id = (None, None) if hidden is None else (hidden.prompt, hidden.unique_id)
        loras = (loras_before(prompt, node_id, "image_a"), loras_before(prompt, node_id, "image_b"))
        report = build_compare_report(image_a, image_b, label_a, label_b, gain, loras)
        label_a, label_b = _label(label_a, report.loras_a), _label(label_b, report.loras_b)
        differences, sheets, shown = [], [], []
        files = _TemporaryFiles()
        progress = comfy.utils.ProgressBar(len(report.pairs))
        for pair in report.pairs:
            a, b = image_a[pair.index_a], image_b[pair.index_b]
            difference = difference_picture(a, b, gain)
            panels = [(label_a, a), (label_b, b), (f"difference x {gain:g}", difference)]
            sheet = side_by_side(panels, metrics_text(pair.metrics))
            shown.append(
                {
                    "a": files.save(f"a{pair.index_a}", a),
                    "b": files.save(f"b{pair.index_b}", b),
                    "difference": files.save(f"difference{len(shown)}", difference),
                    **_pair_data(pair),
                }
            )
            differences.append(difference)
            sheets.append(sheet)
            progress.update(1)
        text = compare_text(report)
        ui = {"patchbay_compare": [_viewer_data(report, shown)], "text": [text]}
        return io.NodeOutput(torch.stack(differences), report, text, torch.stack(sheets), ui=with_inputs(ui))


def _label(label: str, loras: tuple[UsedLora, ...]) -> str:
    """What stands over a picture that is kept: the label, and what was used."""
    return " - ".join(part for part in (label, used_text(loras)) if part)


def _viewer_data(report: CompareReport, pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the viewer on the node renders."""
    return {
        "schema": "patchbay.compare",
        "version": 1,
        "label_a": report.label_a,
        "label_b": report.label_b,
        "loras_a": [dataclasses.asdict(lora) for lora in report.loras_a],
        "loras_b": [dataclasses.asdict(lora) for lora in report.loras_b],
        "gain": report.gain,
        "summary": report.summary,
        "notes": list(report.notes),
        "pairs": pairs,
    }


def _pair_data(pair: ComparePair) -> dict[str, Any]:
    metrics = to_json(pair.metrics)
    names = ("mae", "psnr", "ssim", "identical")
    return {"width": pair.width, "height": pair.height, "metrics": {name: metrics[name] for name in names}}


class _TemporaryFiles:
    """PNG files of one run in ComfyUI's temporary folder, each picture written once.

    The names never come again, not even after a restart, which empties the folder: a browser that kept a picture
    cannot take it for another.
    """

    def __init__(self) -> None:
        self._saved: dict[str, dict[str, str]] = {}
        self._prefix = f"patchbay_compare_{secrets.token_hex(4)}"

    def save(self, role: str, picture: torch.Tensor) -> dict[str, str]:
        """Where the browser finds ``picture``, in the form of ComfyUI's own previews."""
        if role not in self._saved:
            height, width = picture.shape[:2]
            folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
                self._prefix, folder_paths.get_temp_directory(), width, height
            )
            file_name = f"{name}_{counter:05}_{role}.png"
            to_pillow(picture).save(os.path.join(folder, file_name), compress_level=1)
            self._saved[role] = {"filename": file_name, "subfolder": subfolder, "type": "temp"}
        return self._saved[role]
