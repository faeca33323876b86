"""The newest frontend that is known: every workflow opens, and one runs with editor, panel and viewer."""

from __future__ import annotations

from pathlib import Path

import pytest
from comfy_page import ComfyPage
from side_bar import FIGURES, can_be_read, open_side_bar
from support import COMPARE_WORKFLOW
from workflow_checks import OPENED, RUNNABLE

from tools.versions import NEWEST_FRONTEND

PICTURES = """
() => {
  const pictures = [...document.querySelectorAll(".patchbay-compare .patchbay-pane:not([hidden]) img")];
  return pictures.length === 2 && pictures.every((picture) => picture.naturalWidth > 0);
}
"""
HALF = """
() => {
  const node = window.app.rootGraph.nodes.find(({ type }) => type === "PatchbayApplyLora");
  node.widgets.find(({ name }) => name === "blocks").value = "double_blocks.0=0.5";
}
"""
BAR_SAYS = """
() => [...document.querySelectorAll(".patchbay-editor-body [role=slider]")]
  .some((bar) => bar.getAttribute("aria-valuenow") === "0.5" || bar.getAttribute("aria-valuetext")?.includes("0.5"))
"""


def test_it_is_the_newest_frontend(newest_page: ComfyPage) -> None:
    assert newest_page.page.evaluate("() => window.__COMFYUI_FRONTEND_VERSION__") == NEWEST_FRONTEND
    newest_page.assert_no_pack_errors()


@pytest.mark.parametrize("path", OPENED)
def test_a_workflow_opens(newest_page: ComfyPage, path: Path) -> None:
    newest_page.load_workflow(path)
    assert newest_page.missing_node_types() == []
    assert newest_page.overlaps() == []
    newest_page.assert_no_pack_errors()
    if path in RUNNABLE:
        assert newest_page.complaints() == []


def test_a_workflow_runs_with_editor_panel_and_viewer(newest_page: ComfyPage) -> None:
    page = newest_page.page
    newest_page.load_workflow(COMPARE_WORKFLOW)
    page.evaluate(HALF)
    newest_page.focus_node("PatchbayApplyLora")
    page.wait_for_function(BAR_SAYS)
    side = open_side_bar(newest_page)
    newest_page.queue_and_wait()
    side.locator(".patchbay-map-row").first.wait_for()
    assert page.evaluate(FIGURES)
    newest_page.focus_node("PatchbayCompareImages")
    page.wait_for_function(PICTURES)
    can_be_read(newest_page, 30)
    newest_page.screenshot("newest frontend")
    newest_page.assert_no_pack_errors()
    assert newest_page.complaints() == []
