"""What the tests of the side bar ask of the page."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from comfy_page import ComfyPage
from playwright.sync_api import Locator

FIGURES = """
() => Object.fromEntries([...document.querySelectorAll(".patchbay-side .patchbay-map-row")].map((row) =>
  [row.dataset.address, row.querySelector(".patchbay-map-value").textContent]))
"""
SURFACES = ":is(.patchbay-side, .patchbay-panel, .patchbay-dialog, .patchbay-menu)"
"""Everything of ours on the page."""
CONTRAST = """
(surfaces) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const grounds = (element) => {
    const found = [];
    for (let at = element; at; at = at.parentElement) found.unshift(getComputedStyle(at).backgroundColor);
    return ["#888", ...found];
  };
  const low = [];
  let seen = 0;
  for (const element of document.querySelectorAll(`${surfaces} *`)) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element instanceof HTMLOptionElement || !element.checkVisibility()) continue;
    seen += 1;
    const behind = grounds(element);
    const [a, b] = [paint(behind), paint([...behind, getComputedStyle(element).color])].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${element.className || element.localName} "${element.textContent}" ${ratio.toFixed(2)}`);
  }
  return { seen, low };
}
"""
SETTING = "([id, value]) => window.app.extensionManager.setting.set(id, value)"
NAMELESS = """
(surfaces) => [...document.querySelectorAll(`${surfaces} :is(button, select, input, textarea, summary, [role=grid],
  [role=row], [role=img], [role=slider], [role=meter], [role=radio], [role=menuitem], [role=region])`)]
  .filter((each) => each.checkVisibility() && !each.getAttribute("aria-label") && !each.textContent.trim()
    && !each.closest("label"))
  .map((each) => each.outerHTML.slice(0, 120))
"""


PICTURES_ARE_THERE = """
() => {
  const pictures = [...document.querySelectorAll(".patchbay-help img")];
  for (const picture of pictures) picture.loading = "eager";
  return pictures.length === 3 && pictures.every((picture) => picture.naturalWidth > 0);
}
"""


def open_side_bar(page: ComfyPage) -> Locator:
    page.page.locator("#graph-canvas").focus()
    page.page.keyboard.press("Alt+p")
    side = page.page.locator(".patchbay-side")
    side.wait_for(state="visible")
    return side


def select_node(page: ComfyPage, node_type: str, index: int = 0) -> int:
    """Select a node as a click would; its id."""
    return page.page.evaluate(
        """
        ([type, index]) => {
          const node = window.app.rootGraph.nodes.filter((each) => each.type === type)[index];
          window.app.canvas.selectNode(node);
          return node.id;
        }
        """,
        [node_type, index],
    )


def wait_for_text(page: ComfyPage, text: str) -> None:
    """Wait until the side bar says ``text``."""
    page.page.wait_for_function(
        "(text) => document.querySelector('.patchbay-side')?.innerText.includes(text)", arg=text
    )


def can_be_read(page: ComfyPage, least: int) -> None:
    """Text of ours reaches the contrast of AA, and what can be used or stands for something has a name.

    Args:
        least: Texts that there are at least: none would pass too.
    """
    contrast = page.page.evaluate(CONTRAST, SURFACES)
    assert contrast["seen"] >= least, f"{contrast['seen']} texts of ours are seen"
    assert contrast["low"] == []
    assert page.page.evaluate(NAMELESS, SURFACES) == []


def set_setting(page: ComfyPage, name: str, value: object) -> None:
    page.page.evaluate(SETTING, [name, value])


def report_of(page: ComfyPage, node_id: int) -> dict[str, Any]:
    return page.page.evaluate("(id) => window.app.nodeOutputs[id].patchbay_report[0]", str(node_id))


def percent(text: str) -> float:
    return float(text.removesuffix("%").replace("\u202f", "").strip()) / 100


def block_ratio(report: dict[str, Any], block: str) -> float:
    """The figure of a block by its definition: root-sum-square of the changes over that of the weights, each once."""
    layers = [layer for layer in report["layers"] if layer["block"] == block and layer["state"] == "applied"]
    by_weight = {(layer["model_key"], str(layer["slice"])): layer["weight_norm"] for layer in layers}
    delta = math.fsum((layer["strength"] * layer["delta_norm"]) ** 2 for layer in layers)
    return math.sqrt(delta / math.fsum(norm**2 for norm in by_weight.values()))


def states(report: dict[str, Any]) -> Counter[str]:
    return Counter(layer["state"] for layer in report["layers"])
