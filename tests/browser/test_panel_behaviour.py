"""The side bar at work: other loaders, strange files, cached runs, bypassed nodes, subgraphs, tabs, measurements."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from comfy_page import ComfyPage
from playwright.sync_api import Locator
from side_bar import FIGURES, open_side_bar, percent, select_node, wait_for_text
from support import ROOT
from workflow_checks import WORKFLOWS

from tools.server import ComfyServer

COST = next(path for path in WORKFLOWS if path.stem == "What does this LoRA cost (Klein Nano)")
HOSTILE = "hostile.safetensors"
EVIL = '<img src=x onerror="window.__hurt = true">\u202e' + "A" * 1_000_000
BUILD = """
(lora) => {
  const { rootGraph } = window.app;
  rootGraph.clear();
  const types = ["UNETLoader", "LoraLoaderModelOnly", "PatchbayApplyLora", "PatchbayShowPatches", "ProbePatches"];
  const [model, loader, ours, show, probe] = types.map((type, i) => {
    const node = window.LiteGraph.createNode(type);
    rootGraph.add(node);
    node.pos = [i * 400, 0];
    return node;
  });
  model.widgets[0].value = "klein-nano-base.safetensors";
  loader.widgets[0].value = lora;
  ours.widgets.find(({ name }) => name === "lora_name").value = "klein-nano-duotone.safetensors";
  model.connect(0, loader, 0);
  loader.connect(0, ours, 0);
  ours.widgets.find(({ name }) => name === "blocks").value = "all=1, double_blocks.1=0.5, single_blocks.2=-0.3";
  ours.connect(0, show, 0);
  ours.connect(0, probe, 0);
}
"""
PROBED = """
() => window.app.nodeOutputs[window.app.rootGraph.nodes.find(({ type }) => type === "ProbePatches").id].probe[0]
"""
CELLS = """
() => [...document.querySelectorAll(".patchbay-map-row .patchbay-map-cell:not([data-column=''])")].map((cell) => {
  cell.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
  return [cell.closest(".patchbay-map-row").dataset.address, cell.dataset.column, cell.getAttribute("aria-label")];
})
"""
TITLE_BAR = """
() => {
  const node = window.app.rootGraph.nodes.find(({ type }) => type === "LoraLoaderModelOnly");
  const { left, top } = window.app.canvas.canvas.getBoundingClientRect();
  const [x, y] = window.app.canvas.ds.convertOffsetToCanvas([node.pos[0] + 40, node.pos[1] - 12]);
  return [left + x, top + y];
}
"""
# As ComfyUI's own command does it: a script that draws nothing is seen at the next event only.
MODE = """
([type, mode]) => {
  const { rootGraph, canvas } = window.app;
  rootGraph.nodes.find((node) => node.type === type).mode = mode;
  canvas.setDirty(true, true);
}
"""
FOLD = """
() => {
  const { rootGraph, canvas } = window.app;
  canvas.graph.convertToSubgraph(new Set([rootGraph.nodes.find(({ type }) => type === "PatchbayShowPatches")]));
}
"""
STRENGTHS = """
(value) => {
  for (const { widgets } of window.app.rootGraph.nodes)
    for (const widget of widgets ?? []) if (widget.name === "strength_model") widget.value = value;
}
"""
COMMAND = "(id) => window.app.extensionManager.command.execute(id)"
ONLY_THE_SAMPLER = """
() => {
  for (const node of window.app.rootGraph.nodes) {
    if (["PatchbayBenchmark", "VAEDecode", "PreviewImage"].includes(node.type)) node.mode = 2;
    const widget = node.widgets?.find(({ name }) => name === "block_times");
    if (widget) widget.value = true;
  }
}
"""
SHOWN = """
(title) => document.querySelector(".patchbay-side select[data-key=source]")
  ?.selectedOptions[0]?.textContent.startsWith(title)
"""
ALL_RESIDENT = """
() => document.querySelector(".patchbay-side [data-address='single_blocks.3'] .patchbay-map-value")
  ?.textContent === "100%"
"""


@pytest.fixture(scope="module")
def hostile_lora(comfy_server: ComfyServer) -> Iterator[str]:
    """A LoRA that works, whose metadata is markup, a megabyte long, and turns the direction of writing."""
    from safetensors.torch import load_file, save_file

    good = load_file(ROOT / "models" / "loras" / "klein-nano-duotone.safetensors")
    path = comfy_server.base / "models" / "loras" / HOSTILE
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        good, path, {"ss_output_name": EVIL, "modelspec.title": EVIL, "modelspec.trigger_phrase": EVIL, "x": EVIL}
    )
    yield HOSTILE
    path.unlink()


def test_a_stock_loader_and_what_becomes_of_its_node(comfy_page: ComfyPage, hostile_lora: str) -> None:
    page = comfy_page.page
    side = open_side_bar(comfy_page)
    page.evaluate(BUILD, hostile_lora)
    comfy_page.fit_view()
    comfy_page.queue_and_wait()
    wait_for_text(comfy_page, "by another node")
    assert side.locator(".patchbay-map-foreign").count() > 0
    _the_map_is_what_the_patcher_does(comfy_page)
    _hostile_metadata_is_text(comfy_page)

    select_node(comfy_page, "PatchbayShowPatches")
    comfy_page.queue_and_wait()
    wait_for_text(comfy_page, "by another node")
    assert side.locator("select[data-key=compare] option", has_text="earlier run").count() == 0, "nothing ran anew"
    _two_runs_and_their_difference(comfy_page, side)
    page.evaluate(MODE, ["PatchbayShowPatches", 4])
    wait_for_text(comfy_page, "This node is bypassed or muted")
    page.evaluate(MODE, ["PatchbayShowPatches", 0])
    page.wait_for_function("() => !document.querySelector('.patchbay-side').innerText.includes('bypassed or muted')")

    page.evaluate(FOLD)
    comfy_page.queue_and_wait()
    side.locator("select[data-key=source] option[value*=':']").wait_for(state="attached")
    wait_for_text(comfy_page, "by another node")
    page.evaluate(COMMAND, "Comfy.NewBlankWorkflow")
    wait_for_text(comfy_page, "Run a workflow with a Patchbay node")
    page.evaluate(COMMAND, "Workspace.PreviousOpenedWorkflow")
    wait_for_text(comfy_page, "by another node")
    comfy_page.assert_no_pack_errors()


def _the_map_is_what_the_patcher_does(comfy_page: ComfyPage) -> None:
    """Every figure on the page, against ``patcher.patches`` of that very run as ComfyUI itself calculates them."""
    page = comfy_page.page
    probed: dict[tuple[str, str], dict[str, Any]] = {}
    for key, norms in page.evaluate(PROBED).items():
        path = key.removeprefix("diffusion_model.").removesuffix(".weight")
        block = re.match(r"(\w+_blocks\.\d+)\.(.+)", path)
        probed[(block[1], block[2]) if block else (f"other|{path}", "")] = norms
    assert {len(norms["deltas"]) for norms in probed.values()} == {2}, "two loaders patch every layer"

    def ratio(block: str | None = None, layer: str | None = None) -> float:
        chosen = [norms for (at, name), norms in probed.items() if block in (None, at) and layer in (None, name)]
        changes = math.fsum(delta**2 for norms in chosen for delta in norms["deltas"])
        return math.sqrt(changes / math.fsum(norms["weight"] ** 2 for norms in chosen))

    figures = page.evaluate(FIGURES)
    blocks = {block for block, _ in probed}
    assert len(blocks) >= 6
    assert blocks == {block for block, figure in figures.items() if figure}
    for block in blocks:
        assert percent(figures[block]) == pytest.approx(ratio(block), rel=6e-3), block
    cells = {(block, layer): label for block, layer, label in page.evaluate(CELLS)}
    layers = {(block, layer) for block, layer in probed if layer}
    assert layers == set(cells)
    for block, layer in layers:
        shown = re.search(r"Relative change ([\d.]+%)", cells[block, layer])
        assert shown, cells[block, layer]
        assert percent(shown[1]) == pytest.approx(ratio(block, layer), rel=6e-3), (block, layer)
    whole = page.locator(".patchbay-map-figure figcaption strong").first.inner_text()
    assert percent(whole) == pytest.approx(ratio(), rel=6e-3)


def _two_runs_and_their_difference(comfy_page: ComfyPage, side: Locator) -> None:
    """Of our loader's report and of what is patched by both loaders; a quarter of the strength is so in every block."""
    page = comfy_page.page
    page.evaluate(STRENGTHS, 0.25)
    comfy_page.queue_and_wait()
    for node in ("PatchbayShowPatches", "PatchbayApplyLora"):
        select_node(comfy_page, node)
        shown = page.evaluate("(type) => window.app.rootGraph.nodes.find((node) => node.type === type).title", node)
        page.wait_for_function(SHOWN, arg=shown)
        earlier = side.locator("select[data-key=compare] option", has_text="earlier run")
        earlier.wait_for(state="attached")
        side.locator("select[data-key=compare]").select_option(earlier.get_attribute("value"))
        wait_for_text(comfy_page, "A over B")
        # Of the rows with one address, the third map's comes last.
        figures = page.evaluate(FIGURES)
        blocks = {figure for address, figure in figures.items() if "blocks." in address}
        assert blocks == {"÷4"}, f"{node}: {figures}"
        comfy_page.screenshot(f"two runs and their difference of {node}")
        side.locator("select[data-key=compare]").select_option("")
    select_node(comfy_page, "PatchbayShowPatches")


def _hostile_metadata_is_text(comfy_page: ComfyPage) -> None:
    """From the right-click menu of the stock loader to its card and to the side bar."""
    page = comfy_page.page
    page.mouse.click(*page.evaluate(TITLE_BAR), button="right")
    page.get_by_text("LoRA card", exact=True).click()
    card = page.locator("dialog.patchbay-dialog")
    card.locator(".patchbay-facts").first.wait_for()
    for fold in card.locator("summary").all():
        fold.click()
    text = card.inner_text()
    assert "<img src=x onerror=" in text
    assert "\u202e" not in text
    assert len(text) < 10_000
    comfy_page.screenshot("card of a hostile file")
    card.get_by_role("button", name="Show in Patchbay").click()
    wait_for_text(comfy_page, "A LoRA for")
    assert page.locator(".patchbay-side img, dialog img").count() == 0
    assert page.evaluate("() => window.__hurt") is None
    page.locator(".patchbay-side [data-key=follow]").click()


@pytest.mark.parametrize("renderer", ["nodes2"])
def test_a_measurement_is_in_the_side_bar_and_gives_the_map_its_times(comfy_page: ComfyPage) -> None:
    page = comfy_page.page
    side = open_side_bar(comfy_page)
    comfy_page.load_workflow(COST)
    page.evaluate(ONLY_THE_SAMPLER)
    comfy_page.queue_and_wait()
    select_node(comfy_page, "PatchbayMeasureReport")
    side.locator(".patchbay-measure-strip").first.wait_for()
    assert side.locator(".patchbay-memory-bar").count() == 1
    side.locator(".patchbay-measure-fold summary").first.click()
    assert side.locator(".patchbay-measure-table").first.is_visible()
    comfy_page.screenshot("measurement in the side bar")
    select_node(comfy_page, "PatchbayApplyLoras", 1)
    wait_for_text(comfy_page, "27 layers applied")
    side.locator("select[data-key=metric]").select_option("time")
    wait_for_text(comfy_page, "Time of a block in one step")
    row = side.locator(".patchbay-map-row[data-address='single_blocks.3']")
    assert row.locator(".patchbay-map-value").inner_text().endswith(" ms")
    assert row.locator(".patchbay-map-coloured").count() == 1
    side.locator("[data-key='view resident']").click()
    page.wait_for_function(ALL_RESIDENT)

    comfy_page.open()
    comfy_page.load_workflow(COST)
    page.locator(".patchbay-measure .patchbay-measure-strip").first.wait_for(state="attached")
    open_side_bar(comfy_page)
    select_node(comfy_page, "PatchbayMeasureReport")
    side.locator(".patchbay-measure-strip").first.wait_for()
    comfy_page.assert_no_pack_errors()
