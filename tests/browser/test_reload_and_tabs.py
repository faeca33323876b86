"""Progress of a run and what is left of it: after a reload, in a second tab, with parts off, without its files."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from comfy_page import ComfyPage
from side_bar import open_side_bar, select_node, set_setting, wait_for_text
from support import COMPARE_WORKFLOW

SHOWN = """
() => {
  const texts = (selector) => [...document.querySelectorAll(selector)].map((each) => each.textContent);
  const pictures = [...document.querySelectorAll(".patchbay-compare .patchbay-pane:not([hidden]) img")];
  return {
    pictures: pictures.map((image) => image.naturalWidth > 0 && image.getAttribute("src")),
    cards: texts(".patchbay-card .patchbay-summary").sort(),
    map: texts(".patchbay-side .patchbay-map-value"),
  };
}
"""
IS_SHOWN = f"(wanted) => JSON.stringify(({SHOWN.strip()})()) === wanted"
ALL_THERE = f"""
() => {{
  const {{ pictures, cards, map }} = ({SHOWN.strip()})();
  return pictures.length === 2 && pictures.every(Boolean) && cards.length === 1 && map.length >= 6;
}}
"""
WATCH_PROGRESS = """
() => {
  const drawn = (window.__drawn = []);
  const bar = document.querySelector(".patchbay-side .patchbay-progress");
  const note = () => bar.hidden || drawn.push([performance.now(), bar.textContent]);
  new MutationObserver(note).observe(bar, { childList: true, attributes: true });
}
"""
SWITCHES = {
    "LoraPatchbay.Nodes.ShowReportCards": ".patchbay-card",
    "LoraPatchbay.Nodes.ShowStrengthEditor": ".patchbay-editor-body",
    "LoraPatchbay.Panel.ShowSidebar": ".patchbay-side",
}
"""A setting, and what is gone from the page without it."""
CARD_IN_MENU = """
() => {
  const node = window.app.rootGraph.nodes.find(({ type }) => type === "PatchbayApplyLora");
  return window.app.canvas.getNodeMenuOptions(node).some((item) => item?.content === "LoRA card");
}
"""
ANOTHER_SEED = """
(seed) => {
  const { rootGraph } = window.app;
  for (const { widgets } of [rootGraph, ...rootGraph.subgraphs.values()].flatMap(({ nodes }) => nodes))
    for (const widget of widgets ?? []) if (widget.name === "noise_seed") widget.value = seed;
}
"""
"""So that the run is none that the server remembers."""
AT_STRENGTH = """
(value) => {
  const node = window.app.rootGraph.nodes.find(({ type }) => type === "PatchbayApplyLora");
  node.widgets.find(({ name }) => name === "strength_model").value = value;
}
"""
SAME = "() => JSON.parse(JSON.stringify(window.app.rootGraph.serialize()))"
OPEN = "async (workflow) => { await window.app.loadGraphData(workflow, true, true, 'files are missing'); }"
EDITOR_SAYS = """
(text) => document.querySelector(".patchbay-editor-body")?.innerText.replace(/\\s+/g, " ").includes(text)
"""


@pytest.mark.all
def test_results_after_a_reload_in_a_second_tab_and_without_the_files(comfy_page: ComfyPage) -> None:
    page = comfy_page.page
    set_setting(comfy_page, "Comfy.Workflow.Persist", True)
    comfy_page.load_workflow(COMPARE_WORKFLOW)
    open_side_bar(comfy_page)
    page.evaluate(WATCH_PROGRESS)
    page.evaluate(ANOTHER_SEED, uuid4().int % 2**32)
    comfy_page.queue_and_wait()
    _progress_was_shown(comfy_page)
    shown = _all_shown(comfy_page)
    page.reload()
    page.wait_for_function("() => window.app?.rootGraph?.nodes.some(({ type }) => type === 'PatchbayCompareImages')")
    open_side_bar(comfy_page)
    page.wait_for_function(IS_SHOWN, arg=json.dumps(shown, separators=(",", ":")))

    second = ComfyPage(page.context.new_page(), comfy_page.address, comfy_page.renderer, comfy_page.theme)
    second.watch()
    second.open()
    second.page.evaluate(OPEN, page.evaluate(SAME))  # with its seed: a result is shown where its inputs are the same
    second.fit_view()
    open_side_bar(second)
    assert _all_shown(second) == shown, "another tab with the same workflow shows something else"
    second.page.evaluate(AT_STRENGTH, 0.5)
    second.queue_and_wait()
    assert _all_shown(second)["map"] != shown["map"]
    assert _all_shown(comfy_page) == shown, "a run of one tab changed what another shows"
    assert page.locator(".patchbay-side .patchbay-progress:visible").count() == 0
    _missing_files_are_said(second)
    second.page.close()
    _each_part_can_be_switched_off(comfy_page)
    comfy_page.assert_no_pack_errors()


def _all_shown(comfy_page: ComfyPage) -> dict[str, Any]:
    """What the viewer, the cards and the map show, once each of them shows something."""
    comfy_page.page.wait_for_function(ALL_THERE)
    return comfy_page.page.evaluate(SHOWN)


def _progress_was_shown(comfy_page: ComfyPage) -> None:
    """What runs and how far it is, drawn at most ten times a second; nothing is left of it."""
    drawn = comfy_page.page.evaluate("() => window.__drawn")
    assert any("SamplerCustomAdvanced" in text and "/ 20" in text for _, text in drawn), drawn
    times = [at for at, _ in drawn]
    most = max(sum(start <= at < start + 1000 for at in times) for start in times)
    assert most <= 11, f"{most} redraws in a second"
    comfy_page.page.locator(".patchbay-side .patchbay-progress").wait_for(state="hidden")


def _each_part_can_be_switched_off(comfy_page: ComfyPage) -> None:
    page = comfy_page.page
    for setting, part in SWITCHES.items():
        set_setting(comfy_page, setting, False)
        page.locator(part).first.wait_for(state="detached")
        if part != ".patchbay-side":  # its tab is there again, and closed
            set_setting(comfy_page, setting, True)
            page.locator(part).first.wait_for(state="attached")
    set_setting(comfy_page, "LoraPatchbay.Panel.ShowSidebar", True)
    open_side_bar(comfy_page)
    assert page.evaluate(CARD_IN_MENU)
    set_setting(comfy_page, "LoraPatchbay.Panel.LoraMenu", False)
    assert not page.evaluate(CARD_IN_MENU)
    set_setting(comfy_page, "LoraPatchbay.Panel.LoraMenu", True)
    set_setting(comfy_page, "LoraPatchbay.Panel.LiveProgress", False)
    page.evaluate(WATCH_PROGRESS)
    page.evaluate(AT_STRENGTH, 0.25)
    comfy_page.queue_and_wait()
    assert page.evaluate("() => window.__drawn") == []
    set_setting(comfy_page, "LoraPatchbay.Panel.LiveProgress", True)


def _missing_files_are_said(comfy_page: ComfyPage) -> None:
    """A workflow that names files which are not there: each part says what is missing, and none breaks."""
    page = comfy_page.page
    text = COMPARE_WORKFLOW.read_text(encoding="utf-8")
    workflow = json.loads(text.replace("klein-nano-duotone", "gone").replace("klein-nano-base", "gone too"))
    another = str(uuid4())
    page.evaluate(OPEN, {**workflow, "id": another})
    wait_for_text(comfy_page, "Run the workflow: the map of the model")
    page.wait_for_function(EDITOR_SAYS, arg="There is no gone.safetensors in your loras folders.")
    select_node(comfy_page, "PatchbayApplyLora")
    page.locator("#graph-canvas").focus()
    page.keyboard.press("Alt+l")
    card = page.locator("dialog.patchbay-dialog")
    card.get_by_text("There is no gone.safetensors in your loras folders.").wait_for()
    page.keyboard.press("Escape")
    page.evaluate(OPEN, {**json.loads(text.replace("klein-nano-base", "gone too")), "id": another})
    select_node(comfy_page, "PatchbayApplyLora")
    page.locator("#graph-canvas").focus()
    page.keyboard.press("Alt+l")
    card.get_by_text("There is no gone too.safetensors in your diffusion_models folders.").wait_for()
    comfy_page.screenshot("card without the model's file")
    page.keyboard.press("Escape")
    comfy_page.assert_no_pack_errors()
