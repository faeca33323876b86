"""Block Sweep in ComfyUI's own page: bars and figures are those that the node reports, and its text is applied."""

from __future__ import annotations

from comfy_page import ComfyPage
from support import ROOT

from tools.client import ComfyClient

SWEEP = ROOT / "workflows" / "Which blocks matter (Klein Nano).json"
SET = """
(values) => {
  const node = window.app.rootGraph.nodes.find((each) => each.type === "PatchbayBlockSweep");
  for (const widget of node.widgets) if (widget.name in values) widget.value = values[widget.name];
}
"""
SHOWN = """
() => ({
  bars: [...document.querySelectorAll(".patchbay-shift-chart-effect .patchbay-shift-column")].map((column) =>
    column.querySelector(".patchbay-shift-bar")?.classList.contains("patchbay-sweep-out") ?? null),
  names: [...document.querySelectorAll(".patchbay-sweep-table tbody th")].map((cell) => cell.textContent),
  text: document.querySelector(".patchbay-fit-text code").textContent,
  charts: document.querySelectorAll(".patchbay-shift-chart").length,
  nameless: [...document.querySelectorAll(".patchbay-shift :is(button, summary, [role=img])")]
    .filter((each) => !each.getAttribute("aria-label") && !each.textContent.trim()).length,
})
"""


WATCH = """
() => {
  const seen = (window.__arrived = []);
  window.comfyAPI.api.api.addEventListener("patchbay.picture", () => requestAnimationFrame(() =>
    seen.push([...document.querySelectorAll(".patchbay-arrival figcaption")].at(-1)?.textContent ?? "")));
}
"""
ROOM = """
() => {
  const node = window.app.rootGraph.nodes.find((each) => each.type === "PatchbayBlockSweep");
  const panel = document.querySelector(".patchbay-shift-of-sweep");
  return {
    previews: [...(node.imgs ?? []), ...Object.keys(window.app.nodePreviewImages ?? {})].length,
    widgets: node.widgets.map(({ name }) => name).filter((name) => name.startsWith("$$")),
    panel: panel.offsetHeight,
    free: node.size[1] - node.computeSize()[1],
    least: node.widgets.find(({ name }) => name === "patchbay_sweep").options.getMinHeight(),
  };
}
"""


def assert_pictures_came_to_the_panel(opened: ComfyPage) -> None:
    """ComfyUI's own preview of them would stay below the panel, in the panel's room."""
    arrived = opened.page.evaluate("() => window.__arrived")
    assert arrived[:2] == ["without the LoRA", "the whole LoRA"]
    assert any(label.startswith(("without double_blocks", "only ")) for label in arrived[2:]), arrived
    room = opened.page.evaluate(ROOM)
    assert room["previews"] == 0
    assert "$$canvas-image-preview" not in room["widgets"]
    if opened.renderer == "classic":  # all the room that is free is the panel's, but for its margins
        assert room["panel"] >= room["least"] + room["free"] - 24
    assert room["panel"] >= room["least"] - 24


def test_a_sweep_is_drawn_as_it_was_measured(lasting_page: ComfyPage, comfy: ComfyClient) -> None:
    page = lasting_page.page
    lasting_page.load_workflow(SWEEP)
    seed = {"classic": 7, "nodes2": 8}[lasting_page.renderer]  # or the second page's result comes from the cache
    page.evaluate(SET, {"steps": 1, "units": "kind of block", "resume": False, "seed": seed})
    page.evaluate(WATCH)
    lasting_page.queue_and_wait()
    node_id = lasting_page.focus_node("PatchbayBlockSweep")
    page.locator(".patchbay-sweep-view").wait_for()
    assert_pictures_came_to_the_panel(lasting_page)
    newest = max(comfy.get_json("/history").values(), key=lambda entry: entry["prompt"][0])
    data = newest["outputs"][str(node_id)]["patchbay_sweep"][0]
    shown = page.evaluate(SHOWN)
    assert shown["text"] == data["blocks"]
    assert shown["charts"] == 3
    assert shown["nameless"] == 0
    for drawn, row in zip(shown["bars"], data["rows"], strict=True):
        assert drawn is None or drawn is not row["kept"]
    order = sorted(data["rows"], key=lambda row: -(row["effect"] or {"mean": -1})["mean"])
    assert shown["names"] == [row["name"] for row in order]
    assert 0 < data["missed"]["mean"] <= data["distance"]
    applied = [entry for entry in newest["outputs"].values() if "patchbay_report" in entry]
    assert any(report["blocks"] == data["blocks"] for entry in applied for report in entry["patchbay_report"])
    lasting_page.screenshot("block sweep")
    lasting_page.assert_no_pack_errors()
