"""The pack in ComfyUI's own frontend, in a real browser, drawn both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_page import ComfyPage
from side_bar import can_be_read, set_setting
from support import COMPARE_WORKFLOW, TEMPLATE_NAME, TEMPLATE_PACK
from workflow_checks import OPENED, RUNNABLE

from tools.workflow import load_workflow, to_api

RUN_ELSEWHERE = {
    "Compare with and without a LoRA": "test_the_compare_workflow_runs_and_shows_both_pictures",
    "Does this LoRA fit": "test_the_map_shows_the_figures_of_the_run",
    "Does this LoRA transfer": "test_the_transfer_and_the_fit_are_drawn",
    "Fit a LoRA to another model": "test_the_transfer_and_the_fit_are_drawn",
    "LoRA by block": "test_the_next_run_has_the_strength_of_the_bar",
    "Three LoRAs in one node": "test_a_row_opens_its_bars_and_the_report",
    "Which blocks matter": "test_a_sweep_is_drawn_as_it_was_measured",
    "What does this LoRA cost": "test_a_measurement_is_in_the_side_bar_and_gives_the_map_its_times",
}
"""Workflows that other browser tests run, and in which. Every other one is run here, with everything, in one of the two
ways of drawing; the server tests run each of them every time."""
TAKES_MINUTES = {"Teach a LoRA to another model"}
"""Run by the server tests alone."""
LESS = """
() => {
  const least = { seeds: 1, levels: 1, time_budget: 1, grouping: "kind of block" };
  const slow = ["PatchbayFeatureShift", "PatchbayFitStrengths", "PatchbayBenchmark"];
  for (const { widgets } of window.app.rootGraph.nodes.filter(({ type }) => slow.includes(type)))
    for (const widget of widgets) if (widget.name in least) widget.value = least[widget.name];
}
"""
"""What takes minutes, in seconds: the server tests run them with more."""
SHOWN_BEFORE = "() => document.querySelector('.patchbay-editor-body, .patchbay-compare-body') !== null"
"""Whether a node of ours shows more than an empty line before any run."""
REPORTED = """
() => {
  const isEmpty = (place) => place.querySelector(".patchbay-empty") !== null;
  const cards = [...document.querySelectorAll(".patchbay-card")];
  const panels = [...document.querySelectorAll(".patchbay-panel[data-result]")];
  const ran = cards.filter((card) => card.closest("[data-result]"));
  return (cards.length > 0 && !cards.some(isEmpty)) || (panels.length > 0 && !ran.some(isEmpty));
}
"""
"""Every card whose node ran shows its report; a node that only takes settings did not run."""


def test_the_pack_loads_in_silence(lasting_page: ComfyPage) -> None:
    names = lasting_page.page.evaluate("() => window.app.extensions.map((extension) => extension.name)")
    assert [name for name in names if "patchbay" in name.lower()]
    lasting_page.assert_no_pack_errors()
    assert [url for url in lasting_page.outside_requests if "patchbay" in url] == []


def _every_third() -> list[Any]:
    """The newest frontend opens each of them every time; here some are enough for the quick run."""
    marks = [[*row.marks, *([pytest.mark.all] if at % 3 else [])] for at, row in enumerate(OPENED)]
    return [pytest.param(*row.values, id=row.id, marks=mark) for row, mark in zip(OPENED, marks, strict=True)]


@pytest.mark.parametrize("path", _every_third())
def test_a_workflow_opens(lasting_page: ComfyPage, path: Path, object_info: dict[str, Any]) -> None:
    """Whole, with nothing over anything else, and as the API workflow that our own conversion makes of it."""
    lasting_page.load_workflow(path)
    assert lasting_page.missing_node_types() == []
    assert lasting_page.overlaps() == []
    lasting_page.assert_no_pack_errors()
    lasting_page.screenshot(f"opened {path.stem}")
    if path not in RUNNABLE:
        return
    assert lasting_page.complaints() == []
    for theme in ("light", "dark"):
        set_setting(lasting_page, "Comfy.ColorPalette", theme)
        can_be_read(lasting_page, 3 if lasting_page.page.evaluate(SHOWN_BEFORE) else 0)
    theirs = {node_id: (node["class_type"], node["inputs"]) for node_id, node in lasting_page.prompt().items()}
    ours = to_api(load_workflow(path), object_info)
    assert {node_id: (node["class_type"], node["inputs"]) for node_id, node in ours.items()} == theirs


RUN_HERE = [
    path for path in RUNNABLE
    if (name := path.stem.removesuffix(" (Klein Nano)")) not in RUN_ELSEWHERE and name not in TAKES_MINUTES
]  # fmt: skip


@pytest.mark.all
@pytest.mark.parametrize("path", RUN_HERE, ids=lambda path: path.stem)
def test_a_workflow_runs(lasting_page: ComfyPage, path: Path) -> None:
    if RUN_HERE.index(path) % 2 != ("classic", "nodes2").index(lasting_page.renderer):
        pytest.skip("run in the other way of drawing")
    lasting_page.load_workflow(path)
    lasting_page.page.evaluate(LESS)
    lasting_page.queue_and_wait()
    lasting_page.page.wait_for_function(REPORTED)
    can_be_read(lasting_page, 8)  # a healthy report alone is folded into that many
    lasting_page.assert_no_pack_errors()
    assert lasting_page.complaints() == []


def test_every_workflow_is_run_by_a_browser_test() -> None:
    stems = {path.stem.removesuffix(" (Klein Nano)") for path in RUNNABLE}
    assert set(RUN_ELSEWHERE) | TAKES_MINUTES <= stems
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in RUN_ELSEWHERE.values() if f"def {name}(" not in sources] == []


def test_the_compare_workflow_runs_and_shows_both_pictures(lasting_page: ComfyPage) -> None:
    lasting_page.load_workflow(COMPARE_WORKFLOW)
    lasting_page.queue_and_wait()
    lasting_page.focus_node("PatchbayCompareImages")
    viewer = lasting_page.page.locator(".patchbay-compare").first
    viewer.wait_for(state="visible")
    pictures = viewer.locator("img:visible, canvas:visible")
    pictures.nth(1).wait_for(state="visible")  # pictures come from the server, a moment after the viewer
    lasting_page.page.wait_for_function(
        "() => [...document.querySelectorAll('.patchbay-compare img')].every((image) => image.naturalWidth > 0)"
    )
    assert pictures.count() == 2
    for theme, node, name in (
        ("light", "PatchbayCompareImages", "compare viewer"),
        ("dark", "PatchbayCompareImages", "compare viewer"),
        ("dark", "PatchbayApplyLora", "apply report"),
        ("light", "PatchbayApplyLora", "apply report"),
    ):
        set_setting(lasting_page, "Comfy.ColorPalette", theme)
        lasting_page.focus_node(node)
        can_be_read(lasting_page, 20)
        lasting_page.theme = theme
        lasting_page.screenshot(name)
    lasting_page.assert_no_pack_errors()
    assert lasting_page.complaints() == []


def test_an_address_opens_the_template(comfy_page: ComfyPage) -> None:
    """What ``demo --serve`` relies on: the workflow is open without a click."""
    comfy_page.open(f"/?template={TEMPLATE_NAME}&source={TEMPLATE_PACK}")
    count = len(load_workflow(COMPARE_WORKFLOW)["nodes"])
    comfy_page.page.wait_for_function("(count) => window.app.rootGraph.nodes.length === count", arg=count)
    comfy_page.page.wait_for_function("() => window.app.canvas.ds.scale >= 0.7")
    assert comfy_page.page.evaluate("() => window.app.rootGraph.extra.patchbay_view") is None
    assert comfy_page.missing_node_types() == []
    comfy_page.assert_no_pack_errors()
