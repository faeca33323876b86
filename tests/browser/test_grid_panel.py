"""The grid of pictures on its node: pictures under their settings, one enlarged, its settings put on an Apply LoRA."""

from __future__ import annotations

from pathlib import Path

from comfy_page import ComfyPage

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "Compare LoRAs and strengths (Klein Nano).json"
_WIDGETS = """
() => Object.fromEntries(window.app.rootGraph.nodes.find((node) => node.type === "PatchbayApplyLora").widgets
  .map(({ name, value }) => [name, value]))
"""

_SEED = """
(seed) => {
  const grid = window.app.rootGraph.nodes.find((node) => node.type === "PatchbayLoraGrid");
  grid.widgets.find(({ name }) => name === "seed").value = seed;
}
"""
"""Another one for each renderer, or the second one's result comes from the cache."""
_WATCH = """
() => {
  window.__arrived = [];
  window.comfyAPI.api.api.addEventListener("patchbay.picture", ({ detail }) => window.__arrived.push(detail.value));
}
"""


def test_a_grid_is_made_looked_at_and_used(comfy_page: ComfyPage) -> None:
    page = comfy_page.page
    comfy_page.load_workflow(WORKFLOW)
    page.evaluate(_SEED, {"classic": 8, "nodes2": 7}[comfy_page.renderer])
    page.evaluate(_WATCH)
    comfy_page.queue_and_wait()
    assert page.evaluate("() => window.__arrived") == list(range(1, 11))
    comfy_page.focus_node("PatchbayLoraGrid")
    page.wait_for_selector(".patchbay-grid-cell img")
    cells = page.locator(".patchbay-grid-cell")
    assert cells.count() == 9
    cells.nth(5).hover()
    assert "duotone-distilled" in page.locator(".patchbay-grid-detail").inner_text()
    comfy_page.screenshot("grid")
    cells.nth(5).click()
    large = page.locator(".patchbay-grid-large")
    large.wait_for()
    large.hover()
    page.mouse.wheel(0, -900)
    page.wait_for_function("() => /scale\\(3\\./.test(document.querySelector('.patchbay-grid-large').style.transform)")
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Use these settings").click()
    used = page.evaluate(_WIDGETS)
    assert used["lora_name"] == "klein-nano-duotone-distilled.safetensors"
    assert (used["strength_model"], used["strength_clip"], used["blocks"]) == (1.0, 1.0, "")
    comfy_page.screenshot("grid-large")
    page.locator(".patchbay-grid-stage").focus()
    page.keyboard.press("Escape")
    assert cells.count() == 9
    comfy_page.assert_no_pack_errors()
