"""The compare viewer in ComfyUI's own page: pixels, pairs, keys, and what it shows again and what it does not."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from comfy_page import ComfyPage
from PIL import Image

from tools.client import ComfyClient

WIDTH, HEIGHT = 700, 500
VIEWER = ".patchbay-compare"
LABEL_PIXELS = 50
"""Height of the labels over a picture, with room for them."""

_AT_1_TO_1 = """
(width) => [...document.querySelectorAll(".patchbay-pane:not([hidden]) img")].every((image) => {
  const { left, top, width: shown } = image.getBoundingClientRect();
  const whole = (at) => Math.abs(at * devicePixelRatio - Math.round(at * devicePixelRatio)) < 0.1;
  return whole(left) && whole(top) && Math.abs(shown * devicePixelRatio - width) < 0.1;
})
"""
_PANES = """
() => [...document.querySelectorAll(".patchbay-pane:not([hidden])")].map((pane) =>
  [pane, pane.querySelector("img")].map((element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return [left, top, right, bottom].map((at) => at * devicePixelRatio);
  }))
"""
_SCALE = """
([id, scale]) => {
  const { canvas, rootGraph } = window.app;
  canvas.ds.scale = scale;
  canvas.centerOnNode(rootGraph.getNodeById(id));
  canvas.setDirty(true, true);
}
"""
_LOADED = """
() => {
  const images = [...document.querySelectorAll(".patchbay-compare img")];
  return images.length === 3 && images.every((image) => image.complete && image.naturalWidth > 0);
}
"""


@pytest.fixture(scope="module")
def pictures(comfy: ComfyClient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Two pairs of noise, in ComfyUI's input folder: every pixel differs from the ones beside it."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(5)
    made = {}
    for name in ("a0", "a1", "b0", "b1"):
        made[name] = noise.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        file = folder / f"patchbay compare {name}.png"
        Image.fromarray(made[name]).save(file, compress_level=1)
        comfy.upload_image(file)
    return made


def _graph() -> dict[str, Any]:
    """Two batches of two pictures and the node that compares them, in API format."""
    names = {"1": "a0", "2": "a1", "3": "b0", "4": "b1"}
    load = {
        key: {"class_type": "LoadImage", "inputs": {"image": f"patchbay compare {name}.png"}}
        for key, name in names.items()
    }
    batch = {
        key: {"class_type": "ImageBatch", "inputs": {"image1": [one, 0], "image2": [two, 0]}}
        for key, one, two in (("5", "1", "2"), ("6", "3", "4"))
    }
    inputs = {"image_a": ["5", 0], "image_b": ["6", 0], "label_a": "left", "label_b": "right", "gain": 2.0}
    return {**load, **batch, "7": {"class_type": "PatchbayCompareImages", "inputs": inputs}}


def test_the_viewer(comfy_page: ComfyPage, pictures: dict[str, np.ndarray]) -> None:
    page = comfy_page.page
    page.evaluate("async (graph) => { await window.app.loadApiJson(graph, 'compare viewer'); }", _graph())
    page.wait_for_selector(f"{VIEWER} .patchbay-empty:visible")
    page.evaluate("() => window.app.rootGraph.nodes.at(-1).setSize([900, 700])")
    comfy_page.queue_and_wait()
    comfy_page.focus_node("PatchbayCompareImages")
    page.wait_for_function(_LOADED)
    _one_to_one_is_exact(comfy_page, pictures)
    _keys_do_what_they_say(comfy_page)
    _only_its_own_is_shown(comfy_page)
    comfy_page.assert_no_pack_errors()


def _one_to_one_is_exact(comfy_page: ComfyPage, pictures: dict[str, np.ndarray]) -> None:
    """At several zooms of the canvas and pixel ratios, and after a drag, in both panes."""
    page = comfy_page.page
    page.locator(f"{VIEWER} .patchbay-stage").focus()
    page.keyboard.press("1")
    devtools = page.context.new_cdp_session(page)
    metrics = {"width": 1680, "height": 1050, "mobile": False}
    node = page.evaluate("() => window.app.rootGraph.nodes.at(-1).id")
    for scale, ratio in ((1.0, 1.5), (0.83, 1.0), (1.25, 1.0)):
        devtools.send("Emulation.setDeviceMetricsOverride", {**metrics, "deviceScaleFactor": ratio})
        page.evaluate(_SCALE, [node, scale])
        comfy_page.next_frame(4)
        page.wait_for_function(_AT_1_TO_1, arg=WIDTH)
        if ratio == 1:  # a picture of the page has no more pixels than that
            _assert_exact(comfy_page, pictures, f"canvas at {scale}")
    before = page.evaluate(_PANES)
    box = page.locator(f"{VIEWER} .patchbay-stage").bounding_box() or {}
    page.mouse.move(box["x"] + 60, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 91, box["y"] + 200, steps=3)
    page.mouse.up()
    after = page.evaluate(_PANES)
    moved = [[now[1][side] - then[1][side] for side in (0, 1)] for then, now in zip(before, after, strict=True)]
    assert moved[0] == pytest.approx(moved[1], abs=0.1)
    assert moved[0] == pytest.approx([31, 0], abs=1.1)
    _assert_exact(comfy_page, pictures, "after a drag")
    devtools.send("Emulation.clearDeviceMetricsOverride")
    devtools.detach()


def _assert_exact(comfy_page: ComfyPage, pictures: dict[str, np.ndarray], when: str) -> None:
    """What is on the screen is the picture itself, pixel by pixel."""
    comfy_page.next_frame()
    panes = comfy_page.page.evaluate(_PANES)
    screen = np.asarray(Image.open(io.BytesIO(comfy_page.page.screenshot())).convert("RGB"))
    for name, (pane, image) in zip(("a0", "b0"), panes, strict=True):
        left, top = (round(at) for at in image[:2])
        x0, y0 = (int(max(at, 0)) + 6 for at in (max(pane[0], left), max(pane[1] + LABEL_PIXELS * 1.5, top)))
        x1, y1 = (int(at) - 6 for at in (min(pane[2], image[2], 1600), min(pane[3], image[3], 1000)))
        assert x1 - x0 > 100, when
        assert y1 - y0 > 100, when
        # The browser may put a whole part of the page one pixel further: that blends nothing.
        places = [(top + down, left + right) for down in (0, 1, -1) for right in (0, 1, -1)]
        truths = [pictures[name][y0 - y : y1 - y, x0 - x : x1 - x] for y, x in places]
        wrong = min(float((screen[y0:y1, x0:x1] != truth).any(axis=-1).mean()) for truth in truths)
        assert wrong == 0, f"{when}: {wrong:.1%} of the pixels of {name} are not those of the picture"


def _keys_do_what_they_say(comfy_page: ComfyPage) -> None:
    page = comfy_page.page
    viewer, stage = page.locator(VIEWER), page.locator(f"{VIEWER} .patchbay-stage")
    pressed = viewer.locator(".patchbay-modes [aria-pressed=true]")
    stage.focus()
    page.keyboard.press("d")
    assert pressed.inner_text() == "Difference"
    assert viewer.locator(".patchbay-pane:visible").count() == 1
    assert "2" in viewer.locator(".patchbay-pane-difference .patchbay-pane-label span").inner_text()
    comfy_page.screenshot("compare difference")
    page.keyboard.press("Escape")
    assert viewer.get_by_role("button", name="Fit").get_attribute("aria-pressed") == "true"
    page.keyboard.press("l")
    page.keyboard.press("ArrowRight")
    slider = viewer.get_by_role("slider")
    assert slider.get_attribute("aria-valuenow") == "52"
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuenow") == "0"
    first = viewer.locator(".patchbay-pane-a img").get_attribute("src")
    page.keyboard.press("b")
    for shown in ("a", "b", "a"):
        page.wait_for_selector(f"{VIEWER} .patchbay-pane-{shown}:visible")
    assert page.evaluate("() => document.activeElement.className") == "patchbay-stage"
    page.keyboard.press("Space")
    assert viewer.get_by_role("button", name="Play").is_visible()
    page.keyboard.press("s")
    viewer.get_by_role("button", name="Next pair").click()
    assert viewer.locator(".patchbay-pair").inner_text() == "2 / 2"
    page.wait_for_function(_LOADED)
    assert viewer.locator(".patchbay-pane-a img").get_attribute("src") != first
    stage.focus()
    page.keyboard.press("PageDown")
    assert viewer.locator(".patchbay-pane-a img").get_attribute("src") == first
    page.keyboard.press("Escape")
    assert page.evaluate("(viewer) => !document.querySelector(viewer).contains(document.activeElement)", VIEWER)


def _only_its_own_is_shown(comfy_page: ComfyPage) -> None:
    """Kept: nothing in the workflow. Shown again: after a cached run and another workflow in between."""
    page = comfy_page.page
    sources = f"() => [...document.querySelectorAll('{VIEWER} img')].map((image) => image.getAttribute('src'))"
    shown = page.evaluate(sources)
    comfy_page.queue_and_wait()
    assert page.evaluate(sources) == shown
    saved = page.evaluate("() => window.app.rootGraph.serialize()")
    assert "patchbay_compare" not in json.dumps(saved)
    load = "async ([graph, name]) => { await window.app.loadGraphData(graph, true, true, name); }"
    # Of the very same inputs it would be its own result: the pictures are told from each other by what made them.
    other = json.loads(json.dumps({**saved, "id": "0b8f3c1e-6d0f-4b43-9a51-0d7c40f2a111"}).replace('"right"', '"else"'))
    page.evaluate(load, [other, "another compare"])
    page.wait_for_selector(f"{VIEWER} .patchbay-empty:visible")
    assert page.evaluate(sources) == [None, None, None], "a node shows the pictures of another workflow's node"
    page.evaluate("() => window.app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    page.wait_for_function(_LOADED)
    assert page.evaluate(sources) == shown
