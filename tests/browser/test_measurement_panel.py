"""The measurement on a node, drawn both ways, on dark and light: from data as the nodes send them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from comfy_page import ComfyPage
from side_bar import can_be_read, set_setting

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "core"))

_SHOW = """
(measurement) => {
  const node = window.LiteGraph.createNode("PatchbayBenchmark");
  window.app.rootGraph.add(node);
  node.pos = [0, 0];
  node.onExecuted({ patchbay_measurement: [measurement], text: ["text"] });
  return node.id;
}
"""


def measurement() -> dict[str, Any]:
    """Two conditions on a GPU; one could not be read in full."""
    from measurement_runs import GIB, cycles, memory
    from pack.nodes.core.measure.report import build_measurement
    from pack.nodes.core.measure.runs import measurement_json

    held = memory(
        weights_total=7.2 * GIB, weights_resident=7.2 * GIB, torch_allocated_peak=0.52 * GIB, process_low=9.1 * GIB,
        process_high=9.4 * GIB,
    )  # fmt: skip
    runs = [*cycles("plain", 3, 120, 87, memory=held), *cycles("<b>LoRA</b>", 3, 582, 88, memory=held)]
    return measurement_json(build_measurement("benchmark", runs, ["plain", "<b>LoRA</b>"], {"device": "H100"}))


def test_a_measurement_is_shown(lasting_page: ComfyPage) -> None:
    page = lasting_page.page
    page.evaluate(_SHOW, measurement())
    lasting_page.focus_node("PatchbayBenchmark")
    page.wait_for_selector(".patchbay-measure-strip")
    assert page.locator(".patchbay-measure-strip").count() == 2
    assert page.locator(".patchbay-memory-bar").count() == 2
    assert page.locator(".patchbay-measure-view b").count() == 0
    assert "582 ms" in (page.locator(".patchbay-measure-long").first.text_content() or "")
    colours = page.evaluate(
        "() => ['steady', 'first'].map((kind) => "
        "getComputedStyle(document.querySelector(`rect.patchbay-measure-${kind}`)).fill)"
    )
    assert colours == ["rgb(86, 180, 233)", "rgb(230, 159, 0)"]
    box = page.locator(".patchbay-measure").bounding_box()
    assert box is not None
    assert box["height"] >= 300
    page.locator(".patchbay-measure-fold summary").first.evaluate("(summary) => summary.click()")
    page.wait_for_selector(".patchbay-measure-table")
    for theme in ("light", "dark"):
        set_setting(lasting_page, "Comfy.ColorPalette", theme)
        can_be_read(lasting_page, 20)
        lasting_page.theme = theme
        lasting_page.screenshot("measurement")
    lasting_page.assert_no_pack_errors()
