"""The side bar and the LoRA card in ComfyUI's own frontend, drawn both ways."""

from __future__ import annotations

import math
from typing import Any

import pytest
from comfy_page import ComfyPage
from workflow_checks import WORKFLOWS

FIT = next(path for path in WORKFLOWS if path.stem == "Does this LoRA fit (Klein Nano)")
_FIGURES = """
() => Object.fromEntries([...document.querySelectorAll(".patchbay-side .patchbay-map-row")].map((row) =>
  [row.dataset.address, row.querySelector(".patchbay-map-value").textContent]))
"""
_SETTING = "([id, value]) => window.app.extensionManager.setting.set(id, value)"
_REPORT = "(id) => window.app.nodeOutputs[id].patchbay_report[0]"
_SELECT = "(id) => window.app.canvas.selectNode(window.app.rootGraph.getNodeById(id))"
_HOSTILE = """
async () => {
  const { showFile } = await import("/extensions/lora-patchbay/lib/panel.mjs");
  const evil = '<img src=x onerror="window.__hurt = true">\\u202e' + "A".repeat(1_000_000);
  const layer = { state: "shape_mismatch", reason: evil, lora_key: evil, model_key: evil, block: evil, layer: evil,
    owner: evil, slice: null, format: evil, rank: 1, alpha: 1, scale: 1, scale_source: evil, strength: 1,
    block_strength: 1, delta_norm: 1, weight_norm: 1, norm_ratio: 1, spectral_norm: 1, shape: [1], not_measured: evil };
  const report = { schema: "patchbay.report", version: 1, kind: "patches", title: evil, summary: evil, level: "ok",
    model: null, lora: null, strength_model: 1, strength_clip: null, blocks: "", layers: [layer], notes: [evil],
    verdict: "", advice: "", model_blocks: [], counts: {}, coverage: null };
  showFile({ key: "file evil", title: evil, report, text: evil });
}
"""


def open_side_bar(comfy_page: ComfyPage) -> None:
    comfy_page.page.locator("#graph-canvas").focus()
    comfy_page.page.keyboard.press("Alt+p")
    comfy_page.page.locator(".patchbay-side").wait_for(state="visible")


def percent(text: str) -> float:
    return float(text.removesuffix("%").replace("\u202f", "").strip()) / 100


def block_ratio(report: dict[str, Any], block: str) -> float:
    layers = [layer for layer in report["layers"] if layer["block"] == block]
    delta = math.fsum((layer["strength"] * layer["delta_norm"]) ** 2 for layer in layers)
    weights = {(layer["model_key"], str(layer["slice"])): layer["weight_norm"] for layer in layers}
    return math.sqrt(delta / math.fsum(norm**2 for norm in weights.values()))


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_map_shows_the_figures_of_the_run(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(FIT)
    open_side_bar(comfy_page)
    comfy_page.queue_and_wait()
    node_id = comfy_page.focus_node("PatchbayCheckLora")
    comfy_page.page.evaluate(_SELECT, node_id)
    comfy_page.page.locator(".patchbay-map-row[data-address='single_blocks.3']").first.wait_for()
    comfy_page.page.wait_for_timeout(600)
    report = comfy_page.page.evaluate(_REPORT, str(node_id))
    figures = comfy_page.page.evaluate(_FIGURES)
    blocks = [f"{group['kind']}.{i}" for group in report["model"]["blocks"] for i in range(group["count"])]
    for block in blocks:
        assert percent(figures[block]) == pytest.approx(block_ratio(report, block), rel=6e-3), block
    comfy_page.screenshot("panel")
    comfy_page.page.keyboard.press("Alt+l")
    card = comfy_page.page.locator("dialog.patchbay-dialog")
    card.locator(".patchbay-facts").first.wait_for()
    assert "klein-nano-duotone" in card.inner_text()
    comfy_page.screenshot("lora card")
    card.get_by_role("button", name="Show in Patchbay").click()
    comfy_page.page.locator(".patchbay-map-row[data-address='double_blocks.1']").first.wait_for()
    assert card.count() == 0
    comfy_page.assert_no_pack_errors()


def test_results_come_back_after_a_reload_and_keys_open_a_block(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(FIT)
    comfy_page.queue_and_wait()
    comfy_page.open()
    comfy_page.load_workflow(FIT)
    open_side_bar(comfy_page)
    row = comfy_page.page.locator(".patchbay-map-row").first
    row.focus()
    comfy_page.page.keyboard.press("ArrowDown")
    comfy_page.page.keyboard.press("Enter")
    comfy_page.page.locator(".patchbay-block").wait_for()
    comfy_page.page.evaluate(_SETTING, ["LoraPatchbay.Panel.ShowSidebar", False])
    comfy_page.page.locator(".patchbay-side").wait_for(state="detached")
    comfy_page.page.evaluate(_SETTING, ["LoraPatchbay.Panel.ShowSidebar", True])
    comfy_page.assert_no_pack_errors()


@pytest.mark.parametrize("renderer", ["classic"])
def test_hostile_names_are_text(comfy_page: ComfyPage) -> None:
    open_side_bar(comfy_page)
    comfy_page.page.evaluate(_HOSTILE)
    comfy_page.page.locator(".patchbay-map-row").first.click()
    comfy_page.page.locator(".patchbay-block").wait_for()
    assert comfy_page.page.locator(".patchbay-side img").count() == 0
    assert comfy_page.page.evaluate("() => window.__hurt") is None
    assert "\u202e" not in comfy_page.page.locator(".patchbay-side").inner_text()
    comfy_page.assert_no_pack_errors()


@pytest.mark.parametrize("renderer", ["classic"])
def test_ten_thousand_layers_are_drawn_quickly(comfy_page: ComfyPage) -> None:
    open_side_bar(comfy_page)
    took = comfy_page.page.evaluate(
        """
        async () => {
          const { buildMap } = await import("/extensions/lora-patchbay/lib/map_model.mjs");
          const { renderMap } = await import("/extensions/lora-patchbay/lib/map_view.mjs");
          const { languageFor } = await import("/extensions/lora-patchbay/lib/i18n.mjs");
          const layers = Array.from({ length: 10000 }, (_, i) => ({ state: "applied", reason: "", lora_key: "",
            owner: "a", model_key: `b.${i}`, block: `blocks.${Math.floor(i / 100)}`, layer: `t.${i % 100}.attn.to_q`,
            slice: null, strength: 1, delta_norm: 1 + (i % 7), weight_norm: 50, norm_ratio: 0.1, block_strength: 1,
            not_measured: "" }));
          const blocks = [{ kind: "blocks", first: 0, count: 100 }];
          const report = { layers, model: { blocks, layers: {} }, model_blocks: [] };
          const how = { language: languageFor("en"), label: "", selected: null };
          const times = [];
          for (let run = 0; run < 5; run += 1) {
            const before = performance.now();
            const map = buildMap(report, { view: "applied", metric: "relative" });
            const element = renderMap(map, how, { open() {}, tell() {} });
            document.querySelector(".patchbay-side-body").replaceChildren(element);
            element.getBoundingClientRect();
            times.push(performance.now() - before);
          }
          return times.sort((a, b) => a - b)[2];
        }
        """
    )
    print(f"10,000 layers: {took:.0f} ms (median of 5)")
    assert took < 100
    comfy_page.assert_no_pack_errors()
