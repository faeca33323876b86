"""The start of ComfyUI's page with the pack: what is asked for when, and nodes that are there before the library."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlparse

from comfy_page import ComfyPage
from playwright.sync_api import Route
from support import COMPARE_WORKFLOW

from tools.web_parts import START, closure

OURS = "/extensions/lora-patchbay/"
ENTRY = f"{OURS}patchbay.js"
LATE = f"**{OURS}lib/extension.mjs"
NARROW = 330
MADE = """
async (workflow) => {
  const { app, LiteGraph } = window;
  await app.loadGraphData(workflow, true, true, "late");
  const fresh = LiteGraph.createNode("PatchbayApplyLora");
  fresh.pos = [0, 3000];
  app.rootGraph.add(fresh);
  return fresh.id;
}
"""
SIZES = "() => Object.fromEntries(window.app.rootGraph.nodes.map(({ id, size }) => [id, [...size].map(Math.round)]))"
ARE_THERE = """
() => window.app.rootGraph.nodes.filter(({ type }) => type === "PatchbayApplyLora")
  .every(({ widgets }) => widgets.filter(({ name }) => /^patchbay_(strengths|report)$/.test(name)).length === 2)
"""


def test_the_page_waits_for_nothing_of_ours(unopened_page: ComfyPage) -> None:
    """The entry is there before ComfyUI asks for it; the library comes after all that ComfyUI asks for, and at once."""
    page, asked = unopened_page.page, list[str]()
    page.on("request", lambda request: asked.append(urlparse(request.url).path))
    unopened_page.open()
    page.wait_for_function("() => document.querySelector('link[rel=modulepreload][href*=lora-patchbay]')")
    assert asked.index(ENTRY) < asked.index("/api/extensions")
    # Somebody uses the page: the side bar, ahead of need.
    with page.expect_request(f"**{OURS}lib/side_bar/extension.mjs"):
        page.mouse.click(800, 600)
    ours = [path for path in asked if path.startswith(OURS)]
    library = {f"{OURS}lib/{name}" for name in closure(*START)}
    assert ours[0] == ENTRY
    assert set(ours[1 : len(library) + 1]) == library
    assert asked.index(ours[1]) > max(asked.index("/api/object_info"), asked.index("/api/node_replacements"))
    assert len(ours) == len(set(ours))
    unopened_page.assert_no_pack_errors()


def test_a_node_that_is_there_before_the_library_keeps_its_size(unopened_page: ComfyPage) -> None:
    page, held = unopened_page.page, list[Route]()
    page.route(LATE, lambda route: held.append(route))
    unopened_page.open()
    workflow: dict[str, Any] = json.loads(COMPARE_WORKFLOW.read_text(encoding="utf-8"))
    (stored,) = (node for node in workflow["nodes"] if node["type"] == "PatchbayApplyLora")
    stored["size"] = [NARROW, 900]
    fresh = page.evaluate(MADE, workflow)
    before = page.evaluate(SIZES)
    assert before[str(stored["id"])][0] == NARROW
    assert before[str(fresh)][0] < 420
    assert not page.evaluate(ARE_THERE)
    page.unroute(LATE)
    for route in held:
        route.continue_()
    page.wait_for_function(ARE_THERE)
    unopened_page.next_frame(4)
    after = page.evaluate(SIZES)
    assert after[str(stored["id"])] == before[str(stored["id"])]
    assert after[str(fresh)][0] >= 420
    unopened_page.assert_no_pack_errors()
