"""The side bar and the LoRA card in ComfyUI's own frontend, drawn both ways."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from comfy_page import ComfyPage
from PIL import Image
from playwright.sync_api import Locator
from side_bar import (
    FIGURES,
    PICTURES_ARE_THERE,
    block_ratio,
    can_be_read,
    open_side_bar,
    percent,
    report_of,
    select_node,
    set_setting,
    wait_for_text,
)
from workflow_checks import WORKFLOWS

FIT = next(path for path in WORKFLOWS if path.stem == "Does this LoRA fit (Klein Nano)")
ROW = ".patchbay-map-row[data-address='single_blocks.3']"


def test_the_map_shows_the_figures_of_the_run(comfy_page: ComfyPage) -> None:
    """On dark and light, in English and Japanese, switched while the page is open."""
    page = comfy_page.page
    comfy_page.load_workflow(FIT)
    side = open_side_bar(comfy_page)
    comfy_page.queue_and_wait()
    node_id = select_node(comfy_page, "PatchbayCheckLora")
    wait_for_text(comfy_page, "fits FLUX.2")
    page.locator(ROW).first.wait_for()
    report = report_of(comfy_page, node_id)
    blocks = [f"{group['kind']}.{i}" for group in report["model"]["blocks"] for i in range(group["count"])]
    figures = page.evaluate(FIGURES)
    assert len(blocks) == 6
    for block in blocks:
        assert percent(figures[block]) == pytest.approx(block_ratio(report, block), rel=6e-3), block
    for theme, locale, words in (("dark", "en", "Applied"), ("light", "ja", "適用"), ("light", "en", "Applied")):
        set_setting(comfy_page, "Comfy.ColorPalette", theme)
        set_setting(comfy_page, "Comfy.Locale", locale)
        page.wait_for_function("(l) => document.querySelector('.patchbay-side')?.lang === l", arg=locale)
        wait_for_text(comfy_page, words)
        wait_for_text(comfy_page, "に適合します" if locale == "ja" else "fits FLUX.2")
        page.locator(ROW).first.wait_for()
        can_be_read(comfy_page, 20)
        comfy_page.theme = f"{theme}-{locale}"
        comfy_page.screenshot("panel")
    _exports_are_right(comfy_page, side, report)
    _keys_lead_through_the_panel(comfy_page, side)
    comfy_page.assert_no_pack_errors()


def _exports_are_right(comfy_page: ComfyPage, side: Locator, report: dict[str, Any]) -> None:
    def saved(name: str) -> Path:
        side.locator("summary[data-key=export]").click()
        with comfy_page.page.expect_download() as download:
            side.get_by_role("button", name=name).click()
        path = Path(download.value.path())
        assert download.value.suggested_filename.startswith("patchbay-klein-nano-duotone-check.")
        return path

    rows = list(csv.DictReader(io.StringIO(saved("Layers as CSV").read_bytes().decode("utf-8"))))
    assert [row["model_key"] for row in rows] == [layer["model_key"] for layer in report["layers"]]
    assert [float(row["norm_ratio"]) for row in rows] == [layer["norm_ratio"] for layer in report["layers"]]
    assert json.loads(saved("Report as JSON").read_text(encoding="utf-8")) == report
    svg = saved("Map as SVG").read_text(encoding="utf-8")
    assert svg.startswith("<svg ")
    assert all(f"{kind} {i} · " in svg for kind, i in (("double", 1), ("single", 3)))
    assert f"Whole model {side.locator('figcaption strong').first.inner_text()}</text>" in svg
    png = Image.open(saved("Map as PNG"))
    drawn = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert drawn
    assert png.size == (2 * int(drawn[1]), 2 * int(drawn[2])), "sharp on screens with two pixels for one"
    assert len(png.convert("RGB").resize((64, 64)).getcolors(64 * 64) or []) > 100, "the picture is not empty"


def _keys_lead_through_the_panel(comfy_page: ComfyPage, side: Locator) -> None:
    """Tab goes from control to control in the order of the page; arrows go inside the map; Enter opens a block."""
    keyboard = comfy_page.page.keyboard
    side.locator("select[data-key=source]").focus()
    order = []
    for _ in range(9):
        order.append(comfy_page.page.evaluate("() => document.activeElement.dataset.key ?? ''"))
        keyboard.press("Tab")
    wanted = ["source", "goto", "follow", "export", "help", "view applied", "metric", "compare", "row double_blocks"]
    assert [found.startswith(want) for found, want in zip(order, wanted, strict=True)] == [True] * 9, order
    side.locator(".patchbay-map-row").first.focus()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowRight")
    label = comfy_page.page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert label.startswith("double 1 · img_attn.qkv · ")
    keyboard.press("Enter")
    side.locator(".patchbay-block").wait_for()
    select_node(comfy_page, "PatchbayCheckLora")
    keyboard.press("Alt+l")
    card = comfy_page.page.locator("dialog.patchbay-dialog")
    card.locator(".patchbay-facts").first.wait_for()
    assert "all 27 layers land" in card.inner_text()
    assert card.get_by_role("meter").get_attribute("aria-valuenow") == "100"
    can_be_read(comfy_page, 40)
    comfy_page.screenshot("lora card")
    keyboard.press("Escape")
    card.wait_for(state="detached")
    side.locator("button[data-key=help]").click()
    comfy_page.page.wait_for_function(PICTURES_ARE_THERE)
    can_be_read(comfy_page, 40)
    comfy_page.screenshot("help of the side bar")
    keyboard.press("Escape")


def _ten_thousand_layers(comfy_page: ComfyPage) -> list[dict[str, Any]]:
    """What drawing and scrolling took: 100 blocks with 100 layers, and 4000 with 2, which have their own scroller."""
    open_side_bar(comfy_page)
    found = comfy_page.page.evaluate((Path(__file__).parent / "ten_thousand_layers.js").read_text(encoding="utf-8"))
    print(f"10,000 layers: {found}")
    assert len(found) == 2
    return found


@pytest.mark.parametrize("renderer", ["classic"])
def test_of_ten_thousand_layers_only_those_in_view_are_drawn(comfy_page: ComfyPage) -> None:
    for case in _ten_thousand_layers(comfy_page):
        assert case["summary"] == "Report 7."
        assert case["scrolled"] > 500, case
        assert case["rows"] < 200, case
    comfy_page.assert_no_pack_errors()


@pytest.mark.timing
@pytest.mark.parametrize("renderer", ["classic"])
def test_ten_thousand_layers_are_drawn_quickly_and_scroll_smoothly(comfy_page: ComfyPage) -> None:
    for case in _ten_thousand_layers(comfy_page):
        assert case["draw_ms"] < 100, case
        # 60 frames a second, as the browser shows them; the page's own part of a frame is far less.
        assert case["frame_ms"] < 17.5, case
        assert case["work_ms"] < 8, case
