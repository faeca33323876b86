"""The strength editor in ComfyUI's own frontend: what a bar does to the text, to undo and to the next run."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_page import ComfyPage
from playwright.sync_api import Locator
from support import ROOT

WORKFLOW = ROOT / "workflows" / "LoRA by block (Klein Nano).json"
NODE = "Only the double blocks"
TEXT = "all=0, double_blocks.*=1"

_NODE = "(title) => window.app.rootGraph.nodes.find((node) => node.title === title)"


@pytest.fixture(params=["classic", "nodes2"])
def renderer(request: pytest.FixtureRequest) -> str:
    return request.param


def _text(page: ComfyPage, title: str = NODE) -> str:
    return page.page.evaluate(f"(title) => ({_NODE})(title).widgets.find((w) => w.name === 'blocks').value", title)


def _editor(page: ComfyPage, title: str = NODE) -> Locator:
    """The editor on the page that belongs to a node, once its blocks are known."""
    page.page.evaluate(
        f"""
        async (title) => {{
          const node = ({_NODE})(title);
          const canvas = window.app.canvas;
          canvas.ds.scale = 1;
          canvas.centerOnNode(node);
          canvas.setDirty(true, true);
          document.querySelectorAll("[data-under-test]").forEach((each) => each.removeAttribute("data-under-test"));
          node.widgets.find((w) => w.name === "patchbay_strengths").element.setAttribute("data-under-test", "");
        }}
        """,
        title,
    )
    editor = page.page.locator("[data-under-test]")
    editor.locator(".patchbay-sb").first.wait_for(state="visible")
    page.page.wait_for_timeout(700)  # the canvas is drawn at its new place
    return editor


def _bar(editor: Locator, selector: str) -> Locator:
    return editor.locator(f'.patchbay-sb[data-selector="{selector}"]')


def _drag(page: ComfyPage, bar: Locator, up: float) -> None:
    box = bar.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = page.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x, y - up / 2, steps=3)
    mouse.move(x, y - up, steps=3)
    mouse.up()
    page.page.wait_for_timeout(200)


def test_a_drag_writes_the_text_and_undo_takes_it_back(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    comfy_page.page.wait_for_timeout(1000)
    bar = _bar(_editor(comfy_page), "single_blocks.1")
    _drag(comfy_page, bar, 30)
    written = _text(comfy_page)
    assert written.startswith(f"{TEXT}, single_blocks.1=")
    value = float(written.rpartition("=")[2])
    assert value > 0
    assert float(bar.get_attribute("aria-valuenow") or "nan") == value
    comfy_page.page.keyboard.press("Control+z")
    comfy_page.page.wait_for_timeout(1200)
    assert _text(comfy_page) == TEXT
    bar = _bar(_editor(comfy_page), "single_blocks.1")
    assert bar.get_attribute("aria-valuenow") == "0"
    bar.focus()
    comfy_page.page.keyboard.press("ArrowUp")
    assert _text(comfy_page) == f"{TEXT}, single_blocks.1=0.05"
    comfy_page.page.keyboard.press("Shift+ArrowUp")
    assert _text(comfy_page) == "all=0, double_blocks.*=1, single_blocks.*=0.1"
    comfy_page.page.keyboard.type("-0.3")
    comfy_page.page.keyboard.press("Enter")
    assert _text(comfy_page).endswith("single_blocks.*=0.1, single_blocks.1=-0.3")
    comfy_page.screenshot("strength editor")
    comfy_page.assert_no_pack_errors()


def test_the_bars_follow_a_text_that_is_typed(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    comfy_page.page.wait_for_timeout(1000)
    editor = _editor(comfy_page)
    widget = f"({_NODE})(title).widgets.find((w) => w.name === 'blocks')"
    comfy_page.page.evaluate(f"(title) => {{ {widget}.value = 'single_blocks.2=1.25 # up'; }}", NODE)
    bar = _bar(editor, "single_blocks.2")
    comfy_page.page.wait_for_function("(bar) => bar.getAttribute('aria-valuenow') === '1.25'", arg=bar.element_handle())
    bar.dblclick()
    assert _text(comfy_page) == "# up"
    saved = comfy_page.page.evaluate(f"(title) => ({_NODE})(title).serialize().widgets_values", NODE)
    assert "# up" in saved


def test_the_next_run_has_the_strength_of_the_bar(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    comfy_page.page.wait_for_timeout(1000)
    comfy_page.queue_and_wait()
    before = _report(comfy_page)
    _drag(comfy_page, _bar(_editor(comfy_page), "single_blocks.1"), 30)
    written = _text(comfy_page)
    comfy_page.queue_and_wait()
    after = _report(comfy_page)
    value = float(written.rpartition("=")[2])
    assert after["blocks"] == written
    assert _strengths(before, "single_blocks.1") == {0.0}
    assert _strengths(after, "single_blocks.1") == {value}
    assert _strengths(after, "double_blocks.1") == _strengths(before, "double_blocks.1") == {1.0}


def _report(page: ComfyPage) -> dict[str, Any]:
    node = page.page.evaluate(f"(title) => String(({_NODE})(title).id)", NODE)
    return page.page.evaluate("(id) => window.app.nodeOutputs[id].patchbay_report[0]", node)


def _strengths(report: dict[str, Any], block: str) -> set[float]:
    return {layer["block_strength"] for layer in report["layers"] if layer["block"] == block}
