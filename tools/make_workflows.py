"""Write the bundled workflows: ``python -m tools.make_workflows OBJECT_INFO.json [WORD...]``.

With words, only the workflows with one of them in their name.

``OBJECT_INFO.json`` is what a running ComfyUI with the pack answers at ``/object_info``; node slots come from there.
The texts and the layout are here, so that a changed node needs no hand-mended JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .workflow_graph import Graph
from .workflow_parts import BASE, DISTILLED, DUOTONE, WIDE, compare, pictures_of_nano
from .workflows_of_grids import WORKFLOWS as of_grids  # noqa: N811
from .workflows_of_loras import WORKFLOWS as of_loras  # noqa: N811
from .workflows_of_measuring import WORKFLOWS as of_measuring  # noqa: N811
from .workflows_of_methods import WORKFLOWS as of_methods  # noqa: N811
from .workflows_of_models import WORKFLOWS as of_models  # noqa: N811
from .workflows_of_more_models import WORKFLOWS as of_more_models  # noqa: N811
from .workflows_of_strengths import WORKFLOWS as of_strengths  # noqa: N811
from .workflows_of_sweeps import WORKFLOWS as of_sweeps  # noqa: N811
from .workflows_of_transfer import WORKFLOWS as of_transfer  # noqa: N811

FOLDER = Path(__file__).resolve().parents[1] / "workflows"


def main() -> None:
    object_info = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    words = sys.argv[2:]
    for make in (
        by_block_nano,
        fits_nano,
        *of_grids,
        *of_loras,
        *of_measuring,
        *of_methods,
        *of_models,
        *of_more_models,
        *of_strengths,
        *of_transfer,
        *of_sweeps,
    ):
        graph = make(object_info)
        if not words or any(word in graph.name for word in words):
            print(graph.write(FOLDER).name)


def by_block_nano(object_info: dict[str, Any]) -> Graph:
    graph = Graph(object_info, "LoRA by block (Klein Nano)")
    unet = graph.add("UNETLoader", (0, 0), (300, 90), [DISTILLED, "default"])
    graph.note(
        "## Which blocks carry the style?\n\n"
        "Two copies of the same LoRA: one changes only the **double** blocks, the other only the **single** "
        "blocks. Run, and compare the two pictures; drag a bar and run again.\n\n"
        "The text in *blocks* is read from left to right, the later item wins:\n\n"
        "```\nall=0                    everything off\nsingle_blocks.*=1        all single blocks on\n"
        "single_blocks.0-2=0.5    a range\nsingle_blocks.3.attn=0   one part of one block\n"
        "double_blocks.*.txt=0    the text stream\n```\n\n"
        "Indices count from 0. A block that the model does not have is an error that says what it has.",
        (0, 200),
        (300, 700),
        "Read me",
    )
    model = unet["MODEL"]
    applied = {}
    for column, kind in enumerate(("double", "single")):
        apply = graph.add(
            "PatchbayApplyLora",
            (350 + column * 430, 0),
            (400, 780),
            [DUOTONE, 1.0, 1.0, f"all=0, {kind}_blocks.*=1", "auto", False],
            f"Only the {kind} blocks",
            model=model,
        )
        apply.floor = 60 + 70 * column
        applied[f"only {kind} blocks"] = apply["model"]
    graph.bend(apply, "model", (765, 14))
    compare(graph, (1502, 0), (424, 760), pictures_of_nano(graph, (1220, 0), applied))
    return graph


def fits_nano(object_info: dict[str, Any]) -> Graph:
    graph = Graph(object_info, "Does this LoRA fit (Klein Nano)")
    base = graph.add("UNETLoader", (0, 0), (300, 90), [BASE, "default"])
    wide = graph.add("UNETLoader", (0, 100), (300, 90), [WIDE, "default"])
    graph.note(
        "## Does it fit, before anything runs?\n\n"
        "The same LoRA is checked against the model that it was trained on and against one of another size. "
        "Nothing is sampled: **Check LoRA** compares every layer of the file with the real weights and says what "
        "lands, what does not, and why, for Apply LoRA and for ComfyUI's own loader.\n\n"
        "Set *when_unfit* to **stop the run** and put the node beside your sampler: a LoRA for the wrong model then "
        "stops the run with the reason, instead of a picture in which it did nothing.\n\n"
        "**Inspect Model** compares the base with its 4-step distilled version, block by block: how far distillation "
        "moved the weights, and how far it moved the directions that this LoRA edits (an indicator, not a verdict). "
        "The second model is named as *file_b* and read weight by weight, so that only one model has to fit in memory; "
        "a model that is loaded anyway can be connected to *model_b* instead.",
        (0, 200),
        (300, 560),
        "Read me",
    )
    for column, (model, title, floor) in enumerate(
        ((base, "On its own model", 210), (wide, "On a wider model", 60))
    ):
        check = graph.add(
            "PatchbayCheckLora",
            (360 + column * 500, 0),
            (460, 540),
            [DUOTONE, "report only"],
            title,
            model=model["MODEL"],
        )
        check.floor = floor
    graph.add(
        "PatchbayInspectModel",
        (1360, 0),
        (500, 500),
        [DUOTONE, DISTILLED],
        "Base and distilled",
        model=base["MODEL"],
    )
    graph.add("PatchbayInspectFile", (1360, 600), (500, 300), ["LoRA", DUOTONE, True, False])
    return graph


if __name__ == "__main__":
    main()
