"""Compare two pictures, or two batches, on a scale that never adapts."""

from __future__ import annotations

import os
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from .core.metrics import CompareReport, build_compare_report, compare_text, difference_picture
from .core.pictures import side_by_side, to_pillow
from .core.report import to_json
from .sockets import CATEGORY, report_outputs

_PREFIX = "patchbay_compare"


class PatchbayCompareImages(io.ComfyNode):
    """Two pictures, their difference, and figures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayCompareImages",
            display_name="Compare Images (Patchbay)",
            category=CATEGORY,
            description="Shows two pictures side by side, under a slider or as their difference, with MAE, PSNR and "
            "SSIM. The difference has the same scale for every picture.",
            search_aliases=["image compare", "before after", "difference", "psnr", "ssim", "a/b"],
            is_output_node=True,
            inputs=[
                io.Image.Input("image_a", tooltip="The first picture or batch, for example without the LoRA."),
                io.Image.Input(
                    "image_b",
                    tooltip="The second picture or batch, of the same size. A batch of one is compared with all of "
                    "the other.",
                ),
                io.String.Input("label_a", default="without LoRA", tooltip="What the first picture is called."),
                io.String.Input("label_b", default="with LoRA", tooltip="What the second picture is called."),
                io.Float.Input(
                    "gain",
                    default=4.0,
                    min=0.1,
                    max=64.0,
                    step=0.1,
                    tooltip="Differences are multiplied by this number in the difference picture, the same for every "
                    "picture: at 4, a difference of a quarter of the range is white.",
                ),
            ],
            outputs=[
                io.Image.Output("difference", tooltip="The absolute difference times gain."),
                *report_outputs(),
                io.Image.Output("side_by_side", tooltip="Both pictures and their difference, with labels and figures."),
            ],
        )

    @classmethod
    def execute(
        cls, image_a: torch.Tensor, image_b: torch.Tensor, label_a: str, label_b: str, gain: float
    ) -> io.NodeOutput:
        report = build_compare_report(image_a, image_b, label_a, label_b, gain)
        text = compare_text(report)
        differences, panels, saved = [], [], []
        for pair in report.pairs:
            a, b = image_a[pair.index_a], image_b[pair.index_b]
            difference = difference_picture(a, b, gain)
            panel = side_by_side([(label_a, a), (label_b, b), (f"difference x {gain:g}", difference)])
            differences.append(difference)
            panels.append(panel)
            saved.append({"a": a, "b": b, "difference": difference, "side_by_side": panel})
        return io.NodeOutput(
            torch.stack(differences),
            report,
            text,
            torch.stack(panels),
            ui={"patchbay_compare": [_viewer_data(report, saved)], "text": [text]},
        )


def _viewer_data(report: CompareReport, pictures: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
    """What the viewer draws: files in the temporary folder, and the figures."""
    pairs = []
    for pair, images in zip(to_json(report)["pairs"], pictures, strict=True):
        files = {name: _save(picture, name) for name, picture in images.items()}
        pairs.append(files | {key: pair[key] for key in ("width", "height", "metrics")})
    return {
        "schema": "patchbay.compare",
        "version": 1,
        "label_a": report.label_a,
        "label_b": report.label_b,
        "gain": report.gain,
        "pairs": pairs,
    }


def _save(picture: torch.Tensor, name: str) -> dict[str, str]:
    """Write a picture to ComfyUI's temporary folder, under a name that is not taken."""
    height, width = picture.shape[:2]
    folder, stem, counter, subfolder, _ = folder_paths.get_save_image_path(
        f"{_PREFIX}_{name}", folder_paths.get_temp_directory(), width, height
    )
    file_name = f"{stem}_{counter:05}_.png"
    to_pillow(picture).save(os.path.join(folder, file_name), compress_level=4)
    return {"filename": file_name, "subfolder": subfolder, "type": "temp"}
