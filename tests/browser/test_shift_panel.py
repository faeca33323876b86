"""Feature Shift and Fit Strengths in ComfyUI's own page: the numbers and bars shown are those that the node reports."""

from __future__ import annotations

import re
from typing import Any

import pytest
from comfy_page import ComfyPage
from side_bar import set_setting
from support import ROOT

from tools.client import ComfyClient

TRANSFER = ROOT / "workflows" / "Does this LoRA transfer (Klein Nano).json"
FIT = ROOT / "workflows" / "Fit a LoRA to another model (Klein Nano).json"
PAD = 3
"""Pixels above and below the ends of a chart's axis."""

SET = """
([type, values]) => {
  const node = window.app.rootGraph.nodes.find((each) => each.type === type);
  for (const widget of node.widgets) if (widget.name in values) widget.value = values[widget.name];
}
"""
TABLE = """
(selector) => [...document.querySelectorAll(`${selector} tbody tr`)].map((row) =>
  [...row.children].map((cell) => cell.firstChild?.textContent ?? ""))
"""
CHART = """
(name) => {
  const chart = document.querySelector(`.patchbay-shift-chart-${name}`);
  const labels = [...chart.previousElementSibling.children];
  const ticks = labels.map((tick) => [parseFloat(tick.style.top), tick.textContent]);
  const bars = [...chart.querySelectorAll(".patchbay-shift-column")].map((column) =>
    [...column.querySelectorAll(".patchbay-shift-bar")].map((bar) => {
      const { y, height } = bar.getBBox();
      return [y, y + height];
    }));
  return { height: Number(chart.getAttribute("height")), ticks, bars };
}
"""
SHOWN = ".patchbay-shift-view"
NAMELESS = """
() => [...document.querySelectorAll(".patchbay-shift :is(button, summary, [role=img], [role=slider])")]
  .filter((each) => !each.getAttribute("aria-label") && !each.textContent.trim()).map((each) => each.outerHTML)
"""


def test_the_transfer_and_the_fit_are_drawn(lasting_page: ComfyPage, comfy: ComfyClient) -> None:
    page = lasting_page.page
    set_setting(lasting_page, "Comfy.Locale", "en")
    lasting_page.load_workflow(TRANSFER)
    page.evaluate(SET, ["PatchbayFeatureShift", {"levels": 2}])
    data = _run(lasting_page, comfy, "PatchbayFeatureShift", "patchbay_shift")
    _figures_are_the_reports(lasting_page, data)
    _bars_are_to_scale(lasting_page, data)
    _a_block_is_chosen_by_keys_and_clicks(lasting_page, data)
    assert page.evaluate(NAMELESS) == []
    lasting_page.screenshot("feature shift")

    lasting_page.load_workflow(FIT)
    page.evaluate(SET, ["PatchbayFitStrengths", {"levels": 1, "seeds": 1, "grouping": "kind of block"}])
    fit = _run(lasting_page, comfy, "PatchbayFitStrengths", "patchbay_fit")
    _methods_are_the_reports(lasting_page, fit)
    assert page.evaluate(NAMELESS) == []
    lasting_page.screenshot("fitted strengths")

    page.evaluate("() => window.app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    page.locator(".patchbay-shift-of-shift .patchbay-shift-scale").wait_for(state="attached")
    set_setting(lasting_page, "Comfy.Locale", "ja")
    page.locator(".patchbay-shift-charts", has_text="各ブロック直後の特徴").wait_for(state="attached")
    set_setting(lasting_page, "Comfy.Locale", "en")
    lasting_page.assert_no_pack_errors()


def _run(comfy_page: ComfyPage, comfy: ComfyClient, node_type: str, name: str) -> dict[str, Any]:
    """Run the workflow; what the server keeps of what the node sent."""
    comfy_page.queue_and_wait()
    node_id = comfy_page.focus_node(node_type)
    comfy_page.page.locator(SHOWN).wait_for()
    newest = max(comfy.get_json("/history").values(), key=lambda entry: entry["prompt"][0])
    return newest["outputs"][str(node_id)][name][0]


def _number(text: str) -> float | None:
    """``46.9%`` is 0.469, ``×1.03`` is 1.03, ``÷2`` is 0.5, ``−3.1%`` is -0.031."""
    if text == "–":
        return None
    value = float(re.sub(r"[×÷%,<+±\s]", "", text).replace("−", "-")) / (100 if text.endswith("%") else 1)
    return 1 / value if "÷" in text else value


def _close(text: str, value: float | None) -> bool:
    shown = _number(text)
    if shown is None or value is None:
        return shown is value
    return abs(shown - value) <= 0.006 * abs(value) + 1e-7


def _figures_are_the_reports(comfy_page: ComfyPage, data: dict[str, Any]) -> None:
    page = comfy_page.page
    output = data["rows"][-1]
    assert data["transfer"]
    assert data["summary"] in (page.locator(".patchbay-shift-summary").text_content() or "")
    needle = page.locator(".patchbay-shift-needle").text_content() or ""
    control = page.locator(".patchbay-shift-control").text_content() or ""
    assert _close(needle.split()[-1], output["change_cosine"]), needle
    assert _close(control.split()[-1], output["seed_cosine"]), control
    names = ("change_cosine", "seed_cosine", "ratio", "change_error", "reference_shift", "shift", "seeds", "floor")
    names += ("cosine", "frechet")
    shown = page.evaluate(TABLE, ".patchbay-shift-table")
    assert len(shown) == len(data["rows"])
    wrong = [
        (cells[0], name, text, row[name])
        for cells, row in zip(shown, data["rows"], strict=True)
        for name, text in zip(names, cells[1:], strict=True)
        if not _close(text, row[name])
    ]
    assert wrong == []


def _bars_are_to_scale(comfy_page: ComfyPage, data: dict[str, Any]) -> None:
    """Every bar of the shift ends where its value lies on the axis; every stream of every block has one."""
    chart = comfy_page.page.evaluate(CHART, "shift")
    (foot, _), (head, top) = chart["ticks"]
    whole = _number(top)
    assert whole is not None
    values = [row["shift"] for row in data["rows"]]
    bars = [bar for column in chart["bars"] for bar in column]
    assert len(bars) == len(values)
    ends = [foot - (foot - head) * value / whole for value in values]
    assert max(abs(bar[0] - end) for bar, end in zip(bars, ends, strict=True)) < 0.6
    assert {len(column) for column in chart["bars"]} == {1, 2}
    assert (head, foot) == (PAD, chart["height"] - PAD)


def _a_block_is_chosen_by_keys_and_clicks(comfy_page: ComfyPage, data: dict[str, Any]) -> None:
    page = comfy_page.page
    chooser = page.locator(".patchbay-shift-charts[role=slider]")
    detail = page.locator(".patchbay-shift-detail")
    chooser.evaluate("(element) => element.focus({ preventScroll: true })")
    page.keyboard.press("Home")
    assert (detail.locator("h4").text_content() or "") == "double 0"
    shown = detail.locator(".patchbay-shift-channels dd.patchbay-shift-by").all_text_contents()
    wanted = [by for row in data["rows"][:2] for _, by in row["channels"]]
    assert len(shown) == len(wanted)
    assert all(_close(text, by) for text, by in zip(shown, wanted, strict=True)), (shown, wanted)
    page.keyboard.press("ArrowRight")
    assert chooser.get_attribute("aria-valuetext") == _words(data["rows"][2:4])
    page.locator(".patchbay-shift-chart-direction .patchbay-shift-column").last.click()
    assert (detail.locator("h4").text_content() or "") == "output"
    assert detail.locator(".patchbay-shift-histogram").count() == 1


def _words(rows: list[dict[str, Any]]) -> str:
    """What a screen reader is told about a block."""
    streams = {"img": "image", "txt": "text"}
    parts = [
        f"{streams[row['stream']]} Shift {100 * row['shift']:.3g}%, Direction {row['change_cosine']:.3g}"
        for row in rows
    ]
    return f"double 1: {'; '.join(parts)}"


def _methods_are_the_reports(comfy_page: ComfyPage, fit: dict[str, Any]) -> None:
    """Errors and gains of every way, the one that is used, its text, and the bars of whatever is looked at."""
    page = comfy_page.page
    assert page.locator(".patchbay-fit-text code").text_content() == fit["blocks"]
    rows = page.evaluate(TABLE, ".patchbay-fit-methods")
    assert len(rows) == len(fit["candidates"]) == 5
    for (name, _, error, gain), candidate in zip(rows, fit["candidates"], strict=True):
        assert name == candidate["name"]
        assert _close(error, candidate["error"]["mean"]), (name, error)
        wanted = None if name == "plain 1.0" else candidate["gain"]["mean"]
        shown = _number(gain)
        assert (shown is None) == (wanted is None)
        # Three digits, and no finer than a hundredth of a percent.
        assert shown is None or shown == pytest.approx(wanted, rel=5e-3, abs=6e-5), (name, gain)
    chosen = page.locator(".patchbay-fit-row.patchbay-is-chosen")
    assert [row.get_attribute("data-method") for row in chosen.all()] == [fit["chosen"]]
    for method in ("inverse-norm rule", "activation-ratio rule"):
        button = page.locator(f"[data-method='{method}'] button")
        button.evaluate("(element) => element.focus({ preventScroll: true })")
        page.keyboard.press("Enter")
        assert page.locator(f"[data-method='{method}'] button:focus").get_attribute("aria-pressed") == "true"
        strengths = next(each["strengths"] for each in fit["candidates"] if each["name"] == method)
        texts = page.locator(".patchbay-shift-chart-strength .patchbay-shift-value").all_text_contents()
        assert len(texts) == len(fit["groups"])
        shown = [float(text) for text in texts]
        assert all(abs(one - strengths[group]) <= 0.0051 for one, group in zip(shown, fit["groups"], strict=True))
