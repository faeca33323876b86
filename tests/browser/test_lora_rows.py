"""Rows of LoRAs in ComfyUI's own frontend: few clicks, little room, undo, copy, subgraphs, and one run."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from typing import Any

from comfy_page import ComfyPage
from playwright.sync_api import Locator, TimeoutError
from support import ROOT

WORKFLOW = ROOT / "workflows" / "Three LoRAs in one node (Klein Nano).json"
TYPE = "PatchbayApplyLoras"
DISTILLED, INSTRUMENTS, MONO = (
    f"klein-nano-{name}.safetensors" for name in ("duotone-distilled", "concept-instruments", "monochrome")
)
TALLEST = 220
BADGE_PIXELS = 32
"""Nodes 2.0 names the pack below each node, by a setting of the frontend."""

_NODES = "[window.app.rootGraph, ...window.app.rootGraph.subgraphs.values()].flatMap((graph) => graph.nodes)"
_NODE = f"((at) => {_NODES}.filter((node) => node.type === 'PatchbayApplyLoras')[at])"
_RECORDED = "() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length"
_VALUE = f"(at) => {_NODE}(at).widgets.find((w) => w.name === 'rows').value"


def _rows(page: ComfyPage, at: int = 0) -> list[dict[str, Any]]:
    return json.loads(page.page.evaluate(_VALUE, at))


def _wait_for(page: ComfyPage, told: str, at: int = 0, timeout: float | None = None) -> None:
    """Until a JS expression of ``rows`` is true; for milliseconds, or as long as usual."""
    is_so = f"(at) => {{ const rows = JSON.parse(({_VALUE})(at)); return {told}; }}"
    page.page.wait_for_function(is_so, arg=at, timeout=timeout)


def _undo_until(page: ComfyPage, told: str) -> None:
    """Undo the last change: one press, or two where the page came to the node's new height late.

    ComfyUI records a height that Nodes 2.0 finds after the change as a change of its own.
    """
    page.page.locator("#graph-canvas").focus()
    for is_last in (False, True):
        page.page.keyboard.press("Control+z")
        with nullcontext() if is_last else suppress(TimeoutError):
            return _wait_for(page, told, timeout=None if is_last else 5000)


def _panel(page: ComfyPage) -> Locator:
    page.focus_node(TYPE)
    panel = page.page.locator(".patchbay-rows").first
    panel.wait_for()
    return panel


def _fresh(page: ComfyPage) -> Locator:
    """A canvas with a model and an empty node."""
    page.page.evaluate(
        """
        () => {
          const { rootGraph, canvas } = window.app;
          rootGraph.clear();
          const unet = window.LiteGraph.createNode("UNETLoader");
          const loras = window.LiteGraph.createNode("PatchbayApplyLoras");
          unet.pos = [40, 100];
          loras.pos = [460, 100];
          rootGraph.add(unet);
          rootGraph.add(loras);
          unet.connect(0, loras, 0);
          const model = unet.widgets.find((widget) => widget.name === "unet_name");
          model.value = "klein-nano-distilled.safetensors";
          canvas.setDirty(true, true);
        }
        """
    )
    return _panel(page)


def _add(page: ComfyPage, panel: Locator, words: str) -> None:
    """One click, one entry."""
    panel.get_by_role("button", name="Add LoRA").click()
    page.page.locator(".patchbay-pick-search").fill(words)
    page.page.locator(".patchbay-pick-line").first.wait_for()
    page.page.keyboard.press("Enter")


def test_three_loras_take_few_clicks_and_little_room(comfy_page: ComfyPage) -> None:
    panel = _fresh(comfy_page)
    for words in ("duotone dis", "instr", "mono"):
        _add(comfy_page, panel, words)
    _wait_for(comfy_page, "rows.length === 3")
    boxes = panel.locator("[data-row] input[type=checkbox]")
    boxes.nth(2).click()
    strength = panel.locator("[data-act=strength]").nth(1)
    strength.click()
    comfy_page.page.keyboard.type("0.6")
    comfy_page.page.keyboard.press("Enter")
    handle = panel.locator("[data-act=handle]")
    handle.nth(1).drag_to(handle.nth(0))
    _wait_for(comfy_page, f"rows[0].lora === '{INSTRUMENTS}'")
    assert _rows(comfy_page) == [
        {"on": True, "lora": INSTRUMENTS, "strength": 0.6},
        {"on": True, "lora": DISTILLED, "strength": 1},
        {"on": False, "lora": MONO, "strength": 1},
    ]
    height = comfy_page.page.evaluate(f"() => {_NODE}(0).size[1]")
    assert height - (BADGE_PIXELS if comfy_page.renderer == "nodes2" else 0) <= TALLEST, height
    comfy_page.screenshot("lora-rows-three")
    comfy_page.assert_no_pack_errors()


def test_the_sign_of_a_row_says_before_the_run_whether_it_fits(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    panel = _panel(comfy_page)
    panel.locator(".patchbay-lora-row .patchbay-dot-ok").first.wait_for()
    title = panel.locator(".patchbay-lora-row .patchbay-dot").first.get_attribute("title") or ""
    assert "100" in title
    assert "fits" in title
    comfy_page.page.evaluate(
        "() => { window.app.rootGraph.nodes.find((n) => n.type === 'UNETLoader')"
        ".widgets.find((w) => w.name === 'unet_name').value = 'klein-nano-wide.safetensors'; }"
    )
    comfy_page.page.mouse.move(5, 300)
    comfy_page.page.keyboard.press("Shift")
    panel.locator(".patchbay-lora-row .patchbay-dot-error").first.wait_for()
    comfy_page.assert_no_pack_errors()


def test_solo_all_menu_undo_and_tags(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    panel = _panel(comfy_page)
    boxes = panel.locator("[data-row] input[type=checkbox]")
    boxes.nth(2).click(modifiers=["Alt"])
    _wait_for(comfy_page, "rows.map((row) => row.on).join() === 'false,false,true'")
    boxes.nth(2).click(modifiers=["Alt"])
    _wait_for(comfy_page, "rows.map((row) => row.on).join() === 'true,true,false'")
    panel.locator("[data-act=all]").click()
    _wait_for(comfy_page, "rows.every((row) => row.on)")
    panel.locator("[data-act=menu]").nth(2).click()
    comfy_page.page.get_by_role("menuitem", name="To the top").click()
    _wait_for(comfy_page, f"rows[0].lora === '{MONO}'")
    for item, told in (("Own strength", "rows[0].clip === 1"), ("Remove", "rows.length === 2")):
        before = comfy_page.page.evaluate(_RECORDED)
        panel.locator("[data-act=menu]").nth(0).click()
        comfy_page.page.get_by_role("menuitem", name=item).click()
        _wait_for(comfy_page, told)
        # ComfyUI records a change a moment after it; what is not recorded is not undone.
        comfy_page.page.wait_for_function(f"(before) => ({_RECORDED})() > before", arg=before)
    _undo_until(comfy_page, "rows.length === 3 && rows[0].clip === 1")
    panel = _panel(comfy_page)
    panel.get_by_role("button", name="Add LoRA").click()
    comfy_page.page.locator(".patchbay-pick-search").fill("a cat <lora:klein-nano-duotone:0.3>")
    _wait_for(comfy_page, "rows.length === 4 && rows[3].strength === 0.3")
    _a_note_is_kept_and_a_range_obeyed(comfy_page, panel)
    comfy_page.assert_no_pack_errors()


def _a_note_is_kept_and_a_range_obeyed(comfy_page: ComfyPage, panel: Locator) -> None:
    """With the user's settings, for the file of this name, wherever it is used."""
    page = comfy_page.page
    panel.locator("[data-act=menu]").nth(3).click()
    page.get_by_role("menuitem", name="Notes and strength range").click()
    note = page.locator(".patchbay-note")
    note.locator("textarea").fill("soft light, <b>not</b> for portraits")
    note.locator("input").nth(0).fill("0.2")
    note.locator("input").nth(1).fill("0.5")
    comfy_page.screenshot("lora-note")
    note.get_by_role("button", name="Save").click()
    strength = panel.locator("[data-act=strength]").nth(3)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.patchbay-rows [data-act=strength]')]"
        ".some((each) => each.title.includes('your range: 0.2 to 0.5'))"
    )
    strength.focus()
    page.keyboard.press("PageUp")
    _wait_for(comfy_page, "rows[3].strength === 0.5")
    kept = page.evaluate("async () => (await fetch('/api/userdata/lora-patchbay%2Flora_notes.json')).json()")
    assert list(kept["notes"].values()) == [{"text": "soft light, <b>not</b> for portraits", "least": 0.2, "most": 0.5}]


def test_a_row_opens_its_bars_and_the_report(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    comfy_page.queue_and_wait()
    panel = _panel(comfy_page)
    status = panel.locator("[data-act=report]")
    comfy_page.page.wait_for_function(
        "() => document.querySelector('.patchbay-rows-status')?.textContent.includes('2 LoRAs,')"
    )
    status.click()
    card = panel.locator(".patchbay-card")
    card.wait_for()
    assert "2 LoRAs" in card.inner_text()
    panel.locator("[data-act=blocks]").nth(0).click()
    bar = panel.locator(".patchbay-editor [role=slider][data-selector='double_blocks.0']").first
    bar.wait_for()
    bar.focus()
    comfy_page.page.keyboard.press("ArrowDown")
    _wait_for(comfy_page, "/double_blocks.0=0\\.\\d+/.test(rows[0].blocks ?? '')")
    panel.locator(".patchbay-rows-status.patchbay-is-earlier").wait_for()
    comfy_page.screenshot("lora-rows-bars")
    comfy_page.assert_no_pack_errors()


def test_a_copy_and_a_subgraph_keep_the_rows(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    _panel(comfy_page)
    before = _rows(comfy_page)
    comfy_page.page.evaluate(
        f"""() => {{
          const node = {_NODE}(0);
          const {{ canvas }} = window.app;
          canvas.selectNode(node);
          canvas.copyToClipboard([node]);
          canvas.pasteFromClipboard();
        }}"""
    )
    comfy_page.page.wait_for_function(f"() => Boolean({_NODE}(1))")
    assert _rows(comfy_page, 1) == before
    comfy_page.page.evaluate(
        f"""() => {{
          const {{ canvas, rootGraph }} = window.app;
          rootGraph.remove({_NODE}(1));
          const {{ node: host }} = rootGraph.convertToSubgraph(new Set([{_NODE}(0)]));
          canvas.openSubgraph(host.subgraph, host);
        }}"""
    )
    comfy_page.page.locator(".patchbay-lora-row").nth(2).wait_for()
    assert _rows(comfy_page) == before
    sent = [each["inputs"]["rows"] for each in comfy_page.prompt().values() if each["class_type"] == TYPE]
    assert [json.loads(text) for text in sent] == [before]
    comfy_page.assert_no_pack_errors()
