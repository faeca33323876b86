"""Nodes off the screen while ComfyUI runs: not drawn in Nodes 2.0, and there again before somebody could miss them."""

from __future__ import annotations

from uuid import uuid4

import pytest
from comfy_page import ComfyPage
from support import COMPARE_WORKFLOW

FAR = """
(seed) => {
  const { rootGraph, canvas } = window.app;
  const compare = rootGraph.nodes.find(({ type }) => type === "PatchbayCompareImages");
  compare.pos = [compare.pos[0] + 6000, compare.pos[1]];
  for (const { widgets } of rootGraph.nodes)
    for (const widget of widgets ?? []) if (widget.name === "noise_seed") widget.value = seed;
  canvas.setDirty(true, true);
  return String(compare.id);
}
"""
WATCH = """
() => {
  const left = (window.__leftOut = new Set());
  new MutationObserver((changes) => {
    for (const { target } of changes)
      if (target.hasAttribute("data-patchbay-out-of-sight")) left.add(target.getAttribute("data-node-id"));
  }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-patchbay-out-of-sight"] });
}
"""
LEFT_OUT = "() => [...window.__leftOut]"
HIDDEN = """
() => [...document.querySelectorAll(".lg-node")]
  .filter((node) => getComputedStyle(node).contentVisibility === "hidden")
  .map((node) => node.getAttribute("data-node-id"))
"""
IS_HIDDEN = f"(wanted) => String(({HIDDEN.strip()})()) === wanted"
TELL = """
(type) => window.comfyAPI.api.api.dispatchEvent(new CustomEvent(type, { detail: { prompt_id: "told", timestamp: 0 } }))
"""
SHOW_FAR = """
() => {
  const { rootGraph, canvas } = window.app;
  canvas.centerOnNode(rootGraph.nodes.find(({ type }) => type === "PatchbayCompareImages"));
}
"""
SIZE = """
(id) => {
  const { width, height } = getComputedStyle(document.querySelector(`.lg-node[data-node-id="${id}"]`));
  const [own, tall] = window.app.rootGraph.getNodeById(Number(id)).size;
  return { width, height, own, tall };
}
"""
WIDER = """
([id, by]) => {
  const node = window.app.rootGraph.getNodeById(Number(id));
  node.setSize([node.size[0] + by, node.size[1]]);
}
"""
MEASURED = """
async (id) => {
  const { hiddenPixels } = await import(document.querySelector('link[href$="/lib/ui/out_of_sight.mjs"]').href);
  const panel = document.querySelector(`[data-node-id="${id}"] .patchbay-panel`);
  const tall = panel.appendChild(document.createElement("div"));
  tall.style.height = "2345px";
  const out = hiddenPixels(panel);
  const marked = panel.closest("[data-patchbay-out-of-sight]") !== null;
  tall.remove();
  return { out, marked };
}
"""


@pytest.mark.parametrize("renderer", ["nodes2"])
def test_nodes_off_the_screen_are_left_out_of_a_run_and_only_of_it(comfy_page: ComfyPage) -> None:
    page = comfy_page.page
    comfy_page.load_workflow(COMPARE_WORKFLOW)
    far = page.evaluate(FAR, uuid4().int % 2**32)
    comfy_page.focus_node("PatchbayApplyLora")
    page.wait_for_selector(".patchbay-compare")
    page.evaluate(WATCH)
    assert page.evaluate(HIDDEN) == [], "nothing runs"
    drawn = page.evaluate(SIZE, far)

    comfy_page.queue_and_wait()
    assert page.evaluate(LEFT_OUT) == [far], "what is seen is drawn, and what is not ours is left alone"
    page.wait_for_function(IS_HIDDEN, arg="")

    page.evaluate(TELL, "execution_start")
    page.wait_for_function(IS_HIDDEN, arg=far)
    assert page.evaluate(SIZE, far) == drawn, "what is left out keeps its size"
    for by in (90, -90):
        page.evaluate(WIDER, [far, by])
        page.wait_for_timeout(300)  # the frontend may store what it sees
    assert page.evaluate(SIZE, far) == drawn, "a node that is made wider and narrower is as it was"
    seen = page.evaluate(MEASURED, far)
    assert seen["marked"]
    assert seen["out"] > 2000, f"measured as it will be drawn: {seen}"
    page.keyboard.press("Tab")
    page.wait_for_function(IS_HIDDEN, arg="")
    page.mouse.click(700, 890)
    page.wait_for_function(IS_HIDDEN, arg=far)
    page.evaluate(SHOW_FAR)
    page.wait_for_function(IS_HIDDEN, arg="")
    page.wait_for_selector("[data-patchbay-out-of-sight]", state="attached")
    assert far not in page.evaluate(HIDDEN), "it is in view now"
    page.locator(".patchbay-compare .patchbay-pane:not([hidden]) img").first.wait_for(state="visible")
    page.evaluate(TELL, "execution_success")
    page.wait_for_function(IS_HIDDEN, arg="")
    comfy_page.assert_no_pack_errors()
    assert comfy_page.outside_requests == []


def test_the_newest_frontend_stores_no_other_size_of_what_is_left_out(newest_page: ComfyPage) -> None:
    page = newest_page.page
    newest_page.load_workflow(COMPARE_WORKFLOW)
    far = page.evaluate(FAR, 1)
    newest_page.focus_node("PatchbayApplyLora")
    page.wait_for_selector(".patchbay-compare")
    page.wait_for_timeout(500)  # the frontend stores a size once it has seen it
    drawn = page.evaluate(SIZE, far)
    page.evaluate(TELL, "execution_start")
    page.wait_for_function(IS_HIDDEN, arg=far)
    page.wait_for_timeout(300)
    assert page.evaluate(SIZE, far) == drawn
    page.evaluate(TELL, "execution_success")
    page.wait_for_function(IS_HIDDEN, arg="")
    page.wait_for_timeout(300)
    assert page.evaluate(SIZE, far) == drawn
    newest_page.assert_no_pack_errors()
